"""`evaluate` and `audit`: judge a classifier on labelled pictures, and data before anything is trained."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from headstart import document, findings, rules
from headstart.backbone.backbone import open_backbone
from headstart.cache_folder import cache_folder
from headstart.classifier.classifier import Classifier
from headstart.data.samples import Samples
from headstart.data.scan import scan
from headstart.errors import DataError
from headstart.evaluation.judge import judge
from headstart.looking import look
from headstart.predictions import Predictions
from headstart.progress import Progress


def evaluate_classifier(classifier: Classifier, data: Path, progress: Progress) -> dict[str, Any]:
    """Figures of `classifier` on `data`, as plain values (fractions 0..1, 95 % interval)."""
    samples = scan(data, to_learn=False)
    if (samples.parts == "test").any():
        progress.say("of train, val and test the test part is judged")
        samples = samples.take(samples.parts == "test")
    labels = _labels(samples, classifier.classes)
    result = classifier.probabilities(samples.sources, progress)
    good = np.setdiff1d(np.arange(len(samples)), list(result.errors))
    if not len(good):
        raise DataError(f"{data}: none of the {len(samples)} pictures can be read")
    logits = np.log(np.maximum(result.values[good].astype(np.float64), 1e-12))
    names = tuple(samples.names[i] for i in good)
    judged = judge(Predictions(logits, labels[good], names, classifier.classes))
    figures = ("n", "top1", "low", "high", "balanced", "nll", "ece", "baseline")
    rows = zip(classifier.classes, judged.recall, judged.support, strict=True)
    return {
        **{name: getattr(judged, name) for name in figures},
        "per_class": [{"class": c, "recall": None if math.isnan(r) else r, "n": n} for c, r, n in rows],
        "skipped": len(result.errors),
        "skipped_pictures": [{"path": samples.names[i], "reason": why} for i, why in sorted(result.errors.items())],
    }


def audit_data(data: Path, progress: Progress) -> dict[str, Any]:
    """What `fit` would find in `data` before it trains."""
    samples = scan(data)
    material = look(samples, open_backbone(rules.backbone("auto").value, cache_folder()), progress)
    return {
        "data": document.data_facts(material),
        "bad_images": [{"path": path, "reason": reason} for path, reason in material.bad_rows()],
        "findings": [asdict(f) for f in findings.of_data(material)],
    }


def _labels(samples: Samples, classes: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels of `samples` in the classifier's own order of classes."""
    index = {name: k for k, name in enumerate(classes)}
    unknown = sorted({samples.classes[k] for k in np.unique(samples.labels)} - set(classes))
    if unknown:
        raise DataError(
            f"the classifier does not know the class {unknown[0]!r}"
            + (f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else "")
            + f"; it knows {', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}"
        )
    order = np.array([index.get(name, -1) for name in samples.classes], dtype=np.int64)
    return np.asarray(order[samples.labels])
