"""What is served: one classifier, read once at the start, with what its run knows about it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headstart.artefact import Artefact
from headstart.classifier.classifier import Classifier
from headstart.errors import HeadstartError
from headstart.images.printable import printable
from headstart.run import Run, without_nan
from headstart.serving.looks import Looks
from headstart.serving.options import ServingLimits

SHOWN_LIMITS = ("picture_bytes", "picture_pixels", "request_bytes", "pictures", "explained", "body_seconds")
DECISION = ("train", "depths", "backbone", "extra_layers", "why", "p_better")
ACCURACY = ("top1", "low", "high", "balanced", "nll", "ece", "how", "baseline", "series_top1")
TEST = ("n", "top1", "low", "high", "balanced", "nll", "ece")


@dataclass(frozen=True)
class Model:
    """`version`: 12 hex digits that change with the network or the class names. `about`: what GET /v1/model says."""

    classifier: Classifier
    looks: Looks
    version: str
    about: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, limits: ServingLimits) -> Model:
        """The classifier in `folder`, a run's or its own; ClassifierError when it is refused.

        What a run may lack (its result, what explains it) is left out.
        """
        classifier = Classifier.load(folder)
        looks = Looks.read(classifier.artefact, folder)
        return cls(classifier, looks, _version(classifier.artefact), _about(classifier, folder, looks, limits))


def _version(artefact: Artefact) -> str:
    digest = hashlib.sha256()
    for part in artefact.parts():
        digest.update(part)
    digest.update("\0".join(artefact.classes).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]


def _about(classifier: Classifier, folder: Path, looks: Looks, limits: ServingLimits) -> dict[str, Any]:
    artefact, result = classifier.artefact, _result(folder)
    allowed = asdict(limits)
    return {
        "version": _version(artefact),
        "headstart": artefact.headstart,
        "created": artefact.created,
        "classes": list(artefact.classes),
        "preprocessing": classifier.preprocessing.to_json(),
        "backbone": _name(artefact.backbone.get("name")),
        "decision": {k: _name(v) if k == "backbone" else v for k, v in _some(artefact.decision, DECISION).items()},
        "accuracy": _some(result.get("accuracy"), ACCURACY) or None,
        "test": _some(result.get("test"), TEST) or None,
        "coverage": _coverage(result.get("coverage")),
        "pictures": result.get("data", {}).get("n") if isinstance(result.get("data"), dict) else None,
        "explains": {"heat": looks.heat, "nearest": looks.nearest},
        "limits": {name: allowed[name] for name in SHOWN_LIMITS},
    }


def _result(folder: Path) -> dict[str, Any]:
    try:
        return dict(without_nan(Run(folder).result()))
    except (HeadstartError, OSError, ValueError, TypeError):  # a folder of a classifier only, or an unfinished run
        return {}


def _some(facts: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: facts[name] for name in names if name in facts} if hasattr(facts, "keys") else {}


def _name(name: Any) -> str | None:
    """A backbone's name; of NAME@FILE or a folder only what tells nothing about this machine."""
    if not isinstance(name, str):
        return None
    return printable(name.partition("@")[0].replace("\\", "/").rstrip("/").rpartition("/")[2])


def _coverage(rows: Any) -> list[dict[str, Any]]:
    if not isinstance(rows, list):
        return []
    kept = [_some(row, ("threshold", "coverage", "top1", "n")) for row in rows]
    numbers = (int, float)
    return [r for r in kept if isinstance(r.get("threshold"), numbers) and isinstance(r.get("coverage"), numbers)]
