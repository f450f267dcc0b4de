"""Tally: the figures of more predictions than memory holds, added up block by block. The same figures as `judge`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import accuracy_interval
from headstart.evaluation.judge import Judged
from headstart.evaluation.metrics import row_nll
from headstart.predictions import softmax

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

BINS = 15  # of the calibration error, as in metrics.ece


class Tally:
    """Figures of `n` rows of `n_classes` classes.

    Two bytes a row are kept: whether it was added, and right.
    """

    def __init__(self, n: int, n_classes: int) -> None:
        self._right = np.zeros(n, bool)
        self._added = np.zeros(n, bool)
        self._found, self._support = np.zeros(n_classes), np.zeros(n_classes, np.int64)
        self._loss = 0.0
        self._gap = np.zeros(BINS)

    def add(self, rows: IntArray, logits: FloatArray, labels: IntArray) -> None:
        """Calibrated `logits` `(m, K)` of the rows `(m,)`, each row once."""
        right = logits.argmax(axis=1) == labels
        self._right[rows], self._added[rows] = right, True
        k = len(self._support)
        self._found += np.bincount(labels, weights=right, minlength=k)
        self._support += np.bincount(labels, minlength=k)
        self._loss += float(row_nll(logits, labels).sum())
        confidence = softmax(logits).max(axis=1)
        which = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self._gap += np.bincount(which, weights=right - confidence, minlength=BINS)

    @property
    def scores(self) -> NDArray[np.float64]:
        """1 where the answer was right, of the rows that were added, in the order of their numbers."""
        return self._right[self._added].astype(np.float64)

    def of(self, groups: IntArray | None) -> IntArray | None:
        """The groups `(n,)` of the rows that were added."""
        return None if groups is None else groups[self._added]

    def judged(self, groups: IntArray | None = None) -> Judged:
        """Every figure of what was added; `groups` `(n,)` widen the interval where rows come in groups."""
        support, n = self._support, int(self._support.sum())
        recall = np.divide(self._found, support, out=np.full(len(support), np.nan), where=support > 0)
        low, high = accuracy_interval(self.scores, self.of(groups))
        return Judged(
            n=n,
            top1=float(self._found.sum() / n),
            low=low,
            high=high,
            balanced=float(np.nanmean(recall)),
            nll=self._loss / n,
            ece=float(np.abs(self._gap).sum() / n),
            baseline=float(support.max() / n),
            recall=tuple(float(r) for r in recall),
            support=tuple(int(s) for s in support),
        )
