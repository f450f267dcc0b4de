"""The last part of the page: per class, what was not tried, settings, versions: tables of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from headstart.evaluation.intervals import wilson
from headstart.reporting import story
from headstart.reporting.charts.svg import Table
from headstart.reporting.files import Predicted, RunFiles
from headstart.reporting.words import JSON, amount, amount_order, counted, duration, percent


def per_class(files: RunFiles) -> Table | None:
    """Every class: share found with its interval, share of its answers that are right; the test part beside."""
    known = files.result["accuracy"].get("per_class") or []
    if not known:
        return None
    precision = _precision(files.predicted)
    test = {c["class"]: c for c in (files.result.get("test") or {}).get("per_class") or ()}
    head = ("class", "pictures", "found", "95 % interval", *(("of its answers right",) if precision else ()))
    rows = []
    for c in known:
        n, recall = c["n"], c["recall"]
        low, high = wilson(recall * n, n) if recall is not None else (0.0, 1.0)
        between = "-" if recall is None else f"{100 * low:.0f} to {100 * high:.0f}"
        row = [c["class"], f"{n:,}", percent(recall), between]
        if precision:
            right, said = precision.get(c["class"], (0, 0))
            row.append(f"{percent(right / said)} of {said:,}" if said else "never said")
        if test:
            there = test.get(c["class"])
            row.append(f"{percent(there['recall'])} of {there['n']:,}" if there and there["n"] else "-")
        rows.append(tuple(row))
    return Table((*head, *(("found in the test part",) if test else ())), tuple(rows))


def not_tried(result: JSON) -> Table | None:
    """What was not tried, or not to the end, and why."""
    found: dict[tuple[str, str], list[str]] = {}
    for c in sorted(result["candidates"], key=lambda c: amount_order(c["train"])):
        if c["status"] != "run" and c["train"] != "head":
            rate = f"{c['learning_rate']:g}" if c.get("learning_rate") else "-"
            why = c["why"] if c["status"] == "not tried" else f"stopped: {c['why']}"
            rates = found.setdefault((amount(c["train"]), why), [])
            rates.append(rate + (" with a fresh head" if c.get("fresh") else ""))
    rows = [(name, ", ".join(rates), why) for (name, why), rates in found.items()]
    for b in result.get("backbones") or ():
        if b.get("status") != "run" and b.get("why"):
            rows.append((f"backbone {b['name']}", "-", b["why"]))
    return Table(("what", "learning rate", "why"), tuple(rows)) if rows else None


def tried_backbones(result: JSON) -> Table | None:
    """Other backbones that looked at the pictures."""
    rows = [
        (
            b["name"],
            percent(b.get("top1")),
            percent(b.get("first_top1")),
            duration(b.get("seconds")),
            b.get("why") or "-",
        )
        for b in result.get("backbones") or ()
        if b.get("top1") is not None
    ]
    head = ("backbone", "accuracy", "the first one on the same pictures", "took", "remark")
    return Table(head, tuple(rows)) if rows else None


def settings(result: JSON) -> Table:
    """Every default that depends on the data, by whom it was decided, and why."""
    rows = [(s["name"], _plain(s["value"]), s.get("by", "rule"), s["why"]) for s in result.get("settings") or ()]
    return Table(("setting", "value", "decided by", "why"), tuple(rows))


def provenance(files: RunFiles) -> list[tuple[str, str]]:
    """What is needed to repeat or to trace a figure: (name, text)."""
    result, config = files.result, files.result.get("config") or {}
    call, environment = result.get("call") or {}, result.get("environment") or {}
    packages = environment.get("packages") or {}
    facts = [
        ("pictures from", call.get("data") or ""),
        ("seed", _plain(config.get("seed", "")) + " (the one number behind folds, draws and training)"),
        ("headstart", str(result.get("headstart", ""))),
        ("engine", story.engine(result)),
        ("proved", f"the saved file gave the measured answers on {counted(result.get('verified') or 0, 'picture')}"),
        ("python", f"{environment.get('python', '')} on {environment.get('platform', '')}"),
        ("cores", str(environment.get("cores", ""))),
        ("packages", ", ".join(f"{k} {v}" for k, v in packages.items())),
    ]
    return [(name, said) for name, said in facts if said.strip(" on")]


def data_facts(data: Mapping[str, Any]) -> list[str]:
    """What was learned from, one remark each."""
    facts = [f"{counted(data['n'], 'picture')} in {counted(data['classes'], 'class', 'classes')}"]
    for key, one, many in (
        ("skipped", "unreadable picture skipped", "unreadable pictures skipped"),
        ("duplicates", "copy kept with its original", "copies kept with their originals"),
        ("conflicts", "picture left out: same pixels in two classes", "pictures left out: same pixels in two classes"),
        ("groups", "group, never split", "groups, never split"),
    ):
        if data.get(key):
            facts.append(counted(data[key], one, many))
    ignored = sum((data.get("ignored") or {}).values())
    return [*facts, *([counted(ignored, "other file ignored", "other files ignored")] if ignored else [])]


def _precision(found: Predicted) -> dict[str, tuple[int, int]]:
    said = Counter(found.predicted)
    right = Counter(a for a, b in zip(found.labels, found.predicted, strict=True) if a == b)
    return {name: (right[name], n) for name, n in said.items()}


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(v) for v in value) or "none"
    return str(value)
