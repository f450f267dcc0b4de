"""Two runs on the pictures that both held out: a paired comparison, as a document and as a page.

Pictures are the same when their name and their label are. The answers are those of predictions.csv: out of fold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import UsageError
from headstart.evaluation.intervals import mcnemar, paired_bootstrap
from headstart.images.printable import printable
from headstart.reporting.charts.difference import difference
from headstart.reporting.files import RunFiles, read_files
from headstart.reporting.pictures import common_folder
from headstart.reporting.report import encoded, render
from headstart.reporting.words import chance, counted, percent, points
from headstart.run import Run, write_file

CLEAR = 0.975  # probability of being better from which a difference is called one
LISTED = 24
TINY = 1e-7


@dataclass(frozen=True)
class Common:
    """Rows of both runs, pairwise the same picture with the same label. `relabelled`: same name, other label."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    relabelled: int


def write_comparison(run: Run, other: Run) -> tuple[Path, dict[str, Any]]:
    """Write RUN/compare-NAME.html; where it is, and the comparison as plain values.

    Raises:
        UsageError: one of them is no finished run, or they have nothing in common to compare.
        MachineError: the page cannot be written.
    """
    first, second = read_files(run), read_files(other)
    found = compare(first, second)
    path = run.folder / f"compare-{_file_name(second.name)}.html"
    write_file(path, encoded(comparison_page(first, second, found)))
    return path, found


def compare(first: RunFiles, second: RunFiles) -> dict[str, Any]:
    """The first against the second: fractions 0..1, `difference` positive where the first is better.

    Pictures of one group, and copies of one picture, are drawn together. `groups`: how many, None without given ones;
    `p_value`: McNemar's exact test, None with groups.

    Raises:
        UsageError: different classes, no held-out answers, or no picture in common.
    """
    _same_classes(first, second)
    common = _common(first, second)
    a, b = first.predicted, second.predicted
    right, other = a.right[common.first], b.right[common.second]
    groups = a.groups[common.first]
    top1 = paired_bootstrap(right, other, groups)
    losses = [-np.log(np.maximum(p, TINY)) for p in _of_label(first, second, common)]
    nll = paired_bootstrap(losses[1], losses[0], groups)  # smaller is better
    found: dict[str, Any] = {
        "first": first.name,
        "second": second.name,
        "n": len(right),
        "relabelled": common.relabelled,
        "first_top1": float(right.mean()),
        "second_top1": float(other.mean()),
        "difference": top1.difference,
        "low": top1.low,
        "high": top1.high,
        "p_better": top1.p_better,
        "groups": len(np.unique(groups)) if first.result["data"].get("groups") else None,
        "p_value": None if first.result["data"].get("groups") else mcnemar(right, other),
        "only_first_right": int((right & ~other).sum()),
        "only_second_right": int((~right & other).sum()),
        "first_nll": float(losses[0].mean()),
        "second_nll": float(losses[1].mean()),
        "p_better_nll": nll.p_better,
        "per_class": _per_class(first, common, right, other),
    }
    return {**found, "sentence": sentence(found)}


def sentence(found: dict[str, Any]) -> str:
    """The verdict in words."""
    n, gain = counted(found["n"], "picture"), found["difference"]
    between = f"95 % interval {100 * found['low']:+.1f} to {100 * found['high']:+.1f}"
    both = f"{percent(found['first_top1'])} against {percent(found['second_top1'])} right on {n} that both held out"
    if found["only_first_right"] == found["only_second_right"] == 0:
        return f"{both}: right and wrong on the same pictures."
    if found["p_better"] >= CLEAR:
        verdict = "better beyond noise"
    elif found["p_better"] <= 1 - CLEAR:
        verdict = "worse beyond noise"
    else:
        verdict = "no difference beyond noise"
    if found["groups"]:  # McNemar's test is for pictures that stand alone
        return f"{both}: {points(gain)} ({between}, {counted(found['groups'], 'group')} kept together), {verdict}."
    return f"{both}: {points(gain)} ({between}), {verdict} (McNemar p = {found['p_value']:.2g})."


def comparison_page(first: RunFiles, second: RunFiles, found: dict[str, Any]) -> str:
    """The comparison as a page of its own."""
    common = _common(first, second)
    right, other = first.predicted.right[common.first], second.predicted.right[common.second]
    root = common_folder(first.predicted.ids)
    lists = [
        (f"Only {first.name} is right", _rows(first, second, common, right & ~other, root)),
        (f"Only {second.name} is right", _rows(first, second, common, ~right & other, root)),
    ]
    return render(
        "compare.html.j2", first=first, second=second, found=found, chart=difference(found), lists=lists,
    )  # fmt: skip


def _same_classes(first: RunFiles, second: RunFiles) -> None:
    a, b = set(first.result["data"]["class_names"]), set(second.result["data"]["class_names"])
    if a != b:
        only = sorted(a ^ b)[0]
        where = first if only in a else second
        raise UsageError(
            f"{first.folder} and {second.folder} have different classes ({printable(only)!r} is only in {where.name}): "
            "compare runs on the same classes"
        )


def _common(first: RunFiles, second: RunFiles) -> Common:
    for files in (first, second):
        if not files.predicted.ids:
            raise UsageError(f"{files.folder} has no held-out answers (predictions.csv): run headstart fit again")
    where = {name: i for i, name in enumerate(second.predicted.ids)}
    pairs = [(i, where[name]) for i, name in enumerate(first.predicted.ids) if name in where]
    same = [(i, k) for i, k in pairs if first.predicted.labels[i] == second.predicted.labels[k]]
    if not same:
        raise UsageError(
            f"{first.folder} and {second.folder} have no picture in common (same name, same label): "
            "compare runs on the same data"
        )
    rows = np.array(same, np.int64)
    return Common(rows[:, 0], rows[:, 1], len(pairs) - len(same))


def _of_label(first: RunFiles, second: RunFiles, common: Common) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    a, b = first.predicted.probability_of_label, second.predicted.probability_of_label
    return a[common.first], b[common.second]


def _per_class(
    first: RunFiles, common: Common, right: NDArray[np.bool_], other: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    labels = np.array([first.predicted.labels[i] for i in common.first], object)
    rows = []
    for name in first.result["data"]["class_names"]:
        here = labels == name
        if here.any():
            shares = float(right[here].mean()), float(other[here].mean())
            rows.append({"class": name, "n": int(here.sum()), "first": shares[0], "second": shares[1]})
    return rows


def _rows(
    first: RunFiles, second: RunFiles, common: Common, where: NDArray[np.bool_], root: str
) -> list[tuple[str, str, str, str]]:
    """Name, label, what each said with which probability; the surest mistakes first."""
    a, b = first.predicted, second.predicted
    found = []
    for i, k in zip(common.first[where], common.second[where], strict=True):
        said = [f"{p.predicted[r]} ({chance(float(p.probability[r]))})" for p, r in ((a, i), (b, k))]
        wrong = float(b.probability[k] if a.right[i] else a.probability[i])
        found.append((wrong, (a.ids[i].removeprefix(root), a.labels[i], *said)))
    found.sort(key=lambda f: -f[0])
    return [(row[0], row[1], row[2], row[3]) for _, row in found[:LISTED]]


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "run"
