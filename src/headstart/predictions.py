"""Predictions: the waist between training and judging. Plain arrays; knows neither pictures nor networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


MOST_CELLS = 4_000_000  # numbers that are worked on at once: 32 MB of float64


def softmax(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Probabilities `(n, K)` of `logits` `(n, K)` divided by `temperature`; rows sum to one.

    Float64; of more than four million numbers float32, which halves what a hundred thousand pictures take.
    """
    if logits.size <= MOST_CELLS:
        return _softmax(logits, temperature)
    found = np.empty(logits.shape, np.float32)
    for rows in blocks(*logits.shape):
        found[rows] = _softmax(logits[rows], temperature)
    return found


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of `n` rows of `width` numbers that are worked on one after the other; one where there are few."""
    step = max(1, MOST_CELLS // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def taken(array: FloatArray, rows: NDArray[np.bool_]) -> FloatArray:
    """`array[rows]`, but not a copy of everything where that is what is taken."""
    return array if rows.all() else array[rows]


def probability_of(logits: FloatArray, classes: IntArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """The probability of one class per row, `classes` `(n,)`, without those of all others in memory."""
    found = np.empty(len(logits))
    for rows in blocks(*logits.shape):
        some = _softmax(logits[rows], temperature)
        found[rows] = some[np.arange(len(some)), classes[rows]]
    return found


def _softmax(logits: FloatArray, temperature: float) -> FloatArray:
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Predictions:
    """Logits `(n, K)`, true labels `(n,)` and one id per row, in the same order.

    `classes` holds K names; `ids` are the pictures' names relative to the data folder.
    """

    logits: FloatArray
    labels: IntArray
    ids: tuple[str, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n, k = self.logits.shape
        if self.labels.shape != (n,) or len(self.ids) != n or len(self.classes) != k:
            raise ValueError(
                f"predictions do not fit together: {n} x {k} logits, {len(self.labels)} labels, "
                f"{len(self.ids)} ids, {len(self.classes)} classes"
            )

    def confidence(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """Calibrated probability of the predicted class of every row, `(n,)`; computed once per temperature."""
        if temperature not in self._confidences:
            self._confidences[temperature] = probability_of(self.logits, self.chosen, temperature)
        return self._confidences[temperature]

    @cached_property
    def _confidences(self) -> dict[float, NDArray[np.float64]]:
        return {}

    @cached_property
    def chosen(self) -> IntArray:
        """The predicted class of every row, `(n,)`."""
        return np.asarray(self.logits.argmax(axis=1))

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one, `(n,)`."""
        return np.asarray(self.chosen == self.labels)
