"""Coverage and reliability: what probabilities are worth, as tables. Fractions 0..1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import accuracy_interval

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
BINS = 10
FEWEST = 30  # pictures in a bin; below it the interval of a share spans most of what is possible


def coverage(probabilities: FloatArray, labels: IntArray) -> list[dict[str, Any]]:
    """What answering only from a probability on would give, a row per threshold.

    Keys: `threshold`; `coverage`, the share of pictures whose largest probability reaches it; `top1`, the share of
    those that are right, None where there are none; `n`, how many they are. Rows that are not finite do not count.
    """
    confidence, correct, _ = _judged(probabilities, labels)
    rows = []
    for threshold in THRESHOLDS if len(confidence) else ():
        answered = confidence >= threshold
        n = int(answered.sum())
        top1 = float(correct[answered].mean()) if n else None
        rows.append({"threshold": threshold, "coverage": n / len(confidence), "top1": top1, "n": n})
    return rows


def reliability(
    probabilities: FloatArray, labels: IntArray, bins: int = BINS, groups: IntArray | None = None
) -> list[dict[str, Any]]:
    """Bins of about as many pictures each (at least 30, at most `bins`), by largest probability, ascending.

    Keys: `low`, `high` (smallest and largest probability in the bin), `n`, `confidence` (their mean), `top1` with its
    95 % interval `top1_low`, `top1_high`, which `groups` `(n,)` widen. Pictures of one probability share a bin. Empty
    below 30 pictures.
    """
    confidence, correct, finite = _judged(probabilities, labels)
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


def _judged(probabilities: FloatArray, labels: IntArray) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.bool_]]:
    """Largest probability and whether it is right of every finite row, and which rows `(n,)` are finite."""
    p, labels = np.asarray(probabilities), np.asarray(labels)
    if p.ndim != 2 or labels.shape != (len(p),):
        raise ValueError(f"expected (n, K) probabilities and (n,) labels, not {p.shape} and {labels.shape}")
    largest = p.max(axis=1).astype(np.float64)
    finite = np.isfinite(largest) & np.isfinite(p.min(axis=1))
    return largest[finite], (p.argmax(axis=1) == labels)[finite], finite
