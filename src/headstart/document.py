"""result.json and predictions.csv: everything a run found out, as plain values (docs/result.md)."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from headstart import __version__, rules
from headstart.answer import Answer
from headstart.backbone.torch_only import why_in_torch
from headstart.choosing import Tried
from headstart.config import FitConfig
from headstart.evaluation.coverage import coverage, reliability
from headstart.evaluation.findings import Finding
from headstart.evaluation.judge import Judged, judge
from headstart.evidence import Evidence
from headstart.finish import Saved
from headstart.howmuch.probe import Candidate, Probe
from headstart.howmuch.verdict import candidates_json
from headstart.material import Material
from headstart.predictions import Predictions, probability_of, taken
from headstart.racing import Raced
from headstart.run import RESULT, Run
from headstart.showing import Shown
from headstart.training import Seen

SCHEMA = 1
PACKAGES = ("numpy", "pillow", "openvino", "onnx", "torch", "timm", "scikit-learn")


@dataclass(frozen=True)
class Whole:
    """Figures of all pictures, where the rest of a result comes from a sample: `judged` out of fold, `how` in words.

    `data`: what stands in the `data` part instead; `sample` in it says how many pictures the sample has.
    """

    judged: Judged
    how: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """All that a result is written from."""

    config: FitConfig
    seen: Seen
    saved: Saved
    evidence: Evidence
    findings: tuple[Finding, ...]
    raced: Raced
    backbones: tuple[Tried, ...]
    shown: Shown
    whole: Whole | None = None

    @property
    def material(self) -> Material:
        """The pictures."""
        return self.seen.ground.material

    @property
    def found(self) -> Probe:
        """What the probe found."""
        return self.seen.ground.found

    @property
    def answer(self) -> Answer:
        """What was saved."""
        return self.saved.answer

    @property
    def temperature(self) -> float:
        """Of the saved classifier."""
        return self.saved.finished.temperature

    @property
    def settings(self) -> tuple[rules.Rule, ...]:
        """What was decided by whom."""
        return self.seen.settings


def write(run: Run, told: Told, seconds: dict[str, float]) -> None:
    """Write predictions.csv, then result.json: its presence says that the run is complete."""
    judged = _out_of_fold(told)
    run.write_csv("predictions.csv", *_table(judged, told))
    run.write_json(RESULT, _result(told, judged, seconds))


def data_facts(material: Material) -> dict[str, Any]:
    """The `data` part, shared by `fit` and `audit`."""
    counts = np.bincount(material.labels, minlength=len(material.samples.classes))
    duplicates = material.duplicates
    return {
        "n": len(material.learn),
        "classes": len(counts),
        "class_names": list(material.samples.classes),
        "per_class": [int(c) for c in counts],
        "per_class_median": float(np.median(counts)),
        "skipped": len(material.bad),
        "duplicates": sum(len(g) - 1 for g in (*duplicates.exact, *duplicates.near)),
        "conflicts": len(duplicates.conflicts),
        "groups": None if material.samples.groups is None else len(np.unique(material.groups[material.learn])),
        "ignored": dict(material.samples.ignored),
        "notes": list(material.samples.notes),
    }


def _result(told: Told, judged: Predictions | None, seconds: dict[str, float]) -> dict[str, Any]:
    found, evidence, facts = told.found, told.evidence, told.material.embeddings.facts
    data = data_facts(told.material) | (dict(told.whole.data) if told.whole else {})
    median = data["per_class_median"]
    return {
        "schema": SCHEMA,
        "headstart": __version__,
        "data": data,
        "accuracy": _accuracy(told, judged) | _of_all(told),
        "coverage": coverage(judged.confidence(told.temperature), judged.correct) if judged else [],
        "test": _test(told.material, evidence.test),
        "decision": told.saved.decision,
        "candidates": [_candidate(c) for c in found.candidates] + _arms(told),
        "race": _race(told.raced),
        "backbones": [tried.to_json() for tried in told.backbones],
        "similarity": asdict(told.seen.similarity),
        "size": {"place": rules.size_place(median), "images_per_class": median},
        "depths": [asdict(d) for d in found.profile],
        "learning_curve": [{"n": n, "top1": top1} for n, top1 in found.learning_curve],
        "findings": [asdict(f) for f in told.findings],
        "settings": [asdict(s) for s in told.settings],
        "verified": told.saved.finished.verified,
        "reliability": _reliability(told, judged),
        "explain": told.shown.explained,
        "inspected": told.shown.inspected.to_json(),
        "interrupted": told.shown.interrupted,
        "seconds": {"race": 0.0, **seconds},
        "engine": _engine(told),
        "runs_in_torch": why_in_torch(told.answer.backbone),
        "embedding": {"computed": facts.computed, "cached": facts.cached, **asdict(facts.times), "notes": facts.notes},
        "call": {"data": told.config.data and str(told.config.data), "command": told.config.command()},
        "config": told.config.to_json(),
        "environment": environment(),
    }


def _out_of_fold(told: Told) -> Predictions | None:
    rows = np.flatnonzero(told.answer.judged)
    if not len(rows):
        return None
    material = told.material
    names = tuple(material.names[i] for i in rows)
    return Predictions(
        taken(told.answer.logits, told.answer.judged), material.labels[rows], names, material.samples.classes
    )


def _accuracy(told: Told, predictions: Predictions | None) -> dict[str, Any]:
    series, shuffled = told.evidence.series, told.evidence.shuffled
    others = {
        "series_top1": series.top1 if series else None,
        "series_how": series.how if series else None,
        "shuffled_top1": shuffled.top1 if shuffled else None,
    }
    figures = ("top1", "low", "high", "uncorrected_top1", "balanced", "nll", "ece", "baseline")
    if predictions is None:
        return {**dict.fromkeys(figures), "how": "no class has two pictures: nothing can be held out", **others}
    material, answer = told.material, told.answer
    rows = material.learn[answer.judged]
    groups = None if material.samples.groups is None else material.groups[rows]
    judged = judge(predictions, told.temperature, groups)
    return {
        "top1": answer.top1,
        "low": answer.low,
        "high": answer.high,
        "uncorrected_top1": judged.top1,
        "balanced": judged.balanced,
        "nll": judged.nll,
        "ece": judged.ece,
        "baseline": judged.baseline,
        "per_class": _per_class(judged, material.samples.classes),
        "how": _how(told, judged.n),
        **others,
    }


def _of_all(told: Told) -> dict[str, Any]:
    """The figures of all pictures, which take the place of the sample's."""
    if told.whole is None:
        return {}
    judged = told.whole.judged
    figures = {name: getattr(judged, name) for name in ("top1", "low", "high", "balanced", "nll", "ece", "baseline")}
    per_class = _per_class(judged, told.material.samples.classes)
    return {**figures, "uncorrected_top1": judged.top1, "per_class": per_class, "how": told.whole.how}


def _reliability(told: Told, predictions: Predictions | None) -> list[dict[str, Any]]:
    """How often predictions of about one probability are right."""
    if predictions is None:
        return []
    material = told.material
    rows = material.learn[told.answer.judged]
    groups = None if material.samples.groups is None else material.groups[rows]
    return reliability(predictions.confidence(told.temperature), predictions.correct, groups=groups)


def _how(told: Told, n: int) -> str:
    folds = {s.name: s.value for s in told.settings}
    times = "" if folds["repeats"] == 1 else f", {folds['repeats']} times"
    apart = "groups and duplicates" if told.material.samples.groups is not None else "duplicates"
    return (
        f"out of fold on {n} pictures ({folds['folds']} folds{times}, {apart} kept together), {_carried(told, n)}"
        f"corrected for the choice among {len(told.found.candidates)} heads{_and_arms(told)}"
    )


def _carried(told: Told, n: int) -> str:
    """How the figure came to stand for more pictures than were judged (`howmuch.at_large`)."""
    every = int(told.found.judged.sum())
    return f"carried over to all {every} by the new head, which judged those, " if every > n else ""


def _and_arms(told: Told) -> str:
    tried = sum(run.units > 0 for run in told.raced.result.runs) if told.raced.result else 0
    return f" and {tried} way{'s' if tried > 1 else ''} of training more" if tried else ""


def _test(material: Material, judged: Judged | None) -> dict[str, Any] | None:
    if judged is None:
        return None
    figures = {k: getattr(judged, k) for k in ("n", "top1", "low", "high", "balanced", "nll", "ece", "baseline")}
    per_class = _per_class(judged, material.samples.classes)
    conflicts = sum(1 for i in material.duplicates.conflicts if material.samples.parts[i] == "test")
    return {**figures, "left_out": len(material.duplicates.leaks) + conflicts, "per_class": per_class}


def _per_class(judged: Judged, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = zip(classes, judged.recall, judged.support, strict=True)
    return [{"class": name, "recall": recall, "n": n} for name, recall, n in rows]


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "train": "head",
        "depths": list(candidate.names),
        "kind": candidate.kind,
        "penalty": candidate.known_penalty,
        "learning_rate": None,
        "top1": candidate.top1,
        "nll": candidate.nll,
        "low": candidate.low,
        "high": candidate.high,
        "seconds": candidate.seconds,
        "predicted_seconds": None,
        "status": "run",
        "why": "",
        "curve": [],
    }


def _arms(told: Told) -> list[dict[str, Any]]:
    """What was raced, beside the heads."""
    raced = told.raced
    if raced.result is None or raced.frozen is None:
        return []
    names = [d.name for d in told.material.embeddings.depths]
    found = candidates_json(raced.result, raced.frozen, names)
    read = [names[d] for d in told.seen.ground.start.depths]  # what a fine-tuned head reads; extra layers read all
    return [c if c["train"] == "extra" else {**c, "depths": read} for c in found]


def _race(raced: Raced) -> dict[str, Any]:
    """How the race went: its plan, why it ended, how wrong the predicted costs were, what was found on the way."""
    return {
        "ended": raced.ended,
        "plan": raced.plan.to_json() if raced.plan else None,
        "prediction_error": raced.result.prediction_error if raced.result else None,
        "notes": list(raced.notes),
    }


def _engine(told: Told) -> dict[str, Any]:
    engine = told.material.embeddings.facts.engine
    if engine is None:
        note, name = "every vector came from the cache", "torch" if why_in_torch(told.answer.backbone) else "openvino"
        return {"device": "cpu", "name": name, "precision": "fp32", "images_per_second": None, "note": note}
    return asdict(engine)


def _table(predictions: Predictions | None, told: Told) -> tuple[list[str], list[list[Any]]]:
    header = ["path", "label", "predicted", "probability", "probability_of_label", "group"]
    if predictions is None:
        return header, []
    chosen, sure = predictions.chosen, predictions.confidence(told.temperature)
    of_label = probability_of(predictions.logits, predictions.labels, told.temperature)
    groups = told.material.groups[told.material.learn[told.answer.judged]]
    rows = []
    for i, name in enumerate(predictions.ids):
        label, best = int(predictions.labels[i]), int(chosen[i])
        shown = f"{sure[i]:.6f}", f"{of_label[i]:.6f}"
        rows.append([name, predictions.classes[label], predictions.classes[best], *shown, int(groups[i])])
    return header, rows


def environment() -> dict[str, Any]:
    """Versions and machine, so that a figure can be traced."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": versions,
    }
