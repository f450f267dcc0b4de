"""Judge: one set of predictions -> every figure that is shown of it. The same for out-of-fold, test and `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.evaluation import metrics
from headstart.evaluation.intervals import accuracy_interval
from headstart.predictions import IntArray, Predictions


@dataclass(frozen=True)
class Judged:
    """Figures of n predictions, fractions 0..1, `low`/`high` the 95 % interval of `top1`.

    `balanced`: mean over classes of the share found. `nll`, `ece`: of the calibrated probabilities. `baseline`: share
    of the most frequent class. `recall`: per class, NaN where the class has no picture.
    """

    n: int
    top1: float
    low: float
    high: float
    balanced: float
    nll: float
    ece: float
    baseline: float
    recall: tuple[float, ...]
    support: tuple[int, ...]


def judge(predictions: Predictions, temperature: float = 1.0, groups: IntArray | None = None) -> Judged:
    """Every figure of `predictions`; `groups` `(n,)` widen the interval where pictures come in groups."""
    logits, labels = predictions.logits, predictions.labels
    low, high = accuracy_interval(predictions.correct, groups)
    support = np.bincount(labels, minlength=len(predictions.classes))
    found = np.bincount(labels, weights=predictions.correct, minlength=len(predictions.classes))
    recall = np.divide(found, support, out=np.full(len(support), np.nan), where=support > 0)
    return Judged(
        n=len(labels),
        top1=metrics.top1(logits, labels),
        low=low,
        high=high,
        balanced=metrics.balanced(logits, labels),
        nll=metrics.nll(logits, labels, temperature),
        ece=metrics.ece(predictions.confidence(temperature), predictions.correct),
        baseline=metrics.majority_share(labels),
        recall=tuple(float(r) for r in recall),
        support=tuple(int(s) for s in support),
    )
