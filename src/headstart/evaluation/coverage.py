"""Coverage and reliability: what probabilities are worth, as tables. Fractions 0..1.

Both take the probability of the predicted class, `confidence` `(n,)`, and whether it is the true one, `correct` `(n,)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import accuracy_interval

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
Correct = NDArray[np.bool_]

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
BINS = 10
FEWEST = 30  # pictures in a bin; below it the interval of a share spans most of what is possible


def coverage(confidence: FloatArray, correct: Correct) -> list[dict[str, Any]]:
    """What answering only from a probability on would give, a row per threshold.

    Keys: `threshold`; `coverage`, the share of pictures whose confidence reaches it; `top1`, the share of
    those that are right, None where there are none; `n`, how many they are. Rows that are not finite do not count.
    """
    confidence, correct, _ = _judged(confidence, correct)
    rows = []
    for threshold in THRESHOLDS if len(confidence) else ():
        answered = confidence >= threshold
        n = int(answered.sum())
        top1 = float(correct[answered].mean()) if n else None
        rows.append({"threshold": threshold, "coverage": n / len(confidence), "top1": top1, "n": n})
    return rows


def reliability(
    confidence: FloatArray, correct: Correct, bins: int = BINS, groups: IntArray | None = None
) -> list[dict[str, Any]]:
    """Bins of about as many pictures each (at least 30, at most `bins`), by confidence, ascending.

    Keys: `low`, `high` (smallest and largest confidence in the bin), `n`, `confidence` (their mean), `top1` with its
    95 % interval `top1_low`, `top1_high`, which `groups` `(n,)` widen. Pictures of one probability share a bin. Empty
    below 30 pictures.
    """
    confidence, correct, finite = _judged(confidence, correct)
    of_group = None if groups is None else np.asarray(groups)[finite]
    order = np.argsort(confidence, kind="stable")
    rows = []
    for part in np.split(order, _cuts(confidence[order], bins)) if len(order) >= FEWEST else ():
        low, high = accuracy_interval(correct[part], None if of_group is None else of_group[part])
        rows.append(
            {
                "low": float(confidence[part].min()),
                "high": float(confidence[part].max()),
                "n": len(part),
                "confidence": float(confidence[part].mean()),
                "top1": float(correct[part].mean()),
                "top1_low": low,
                "top1_high": high,
            }
        )
    return rows


def _cuts(confidence: FloatArray, bins: int) -> list[int]:
    """Where sorted probabilities are cut: near every n / bins, never between two that are equal."""
    n = len(confidence)
    wanted = min(max(bins, 1), n // FEWEST)
    cuts: list[int] = []
    for k in range(1, wanted):
        at = int(np.searchsorted(confidence, confidence[k * n // wanted - 1], side="right"))
        if at - (cuts[-1] if cuts else 0) >= FEWEST and n - at >= FEWEST:
            cuts.append(at)
    return cuts


def _judged(confidence: FloatArray, correct: Correct) -> tuple[FloatArray, Correct, NDArray[np.bool_]]:
    """Both, of every row whose confidence is finite, and which rows `(n,)` these are."""
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.bool_)
    if sure.ndim != 1 or right.shape != sure.shape:
        raise ValueError(f"expected (n,) confidences and whether they are right, not {sure.shape} and {right.shape}")
    finite = np.isfinite(sure)
    return sure[finite], right[finite], finite
