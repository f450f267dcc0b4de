"""Predictions: the waist between training and judging. Plain arrays; knows neither pictures nor networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


def softmax(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Probabilities `(n, K)` of `logits` `(n, K)` divided by `temperature`; rows sum to one."""
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

    def probabilities(self, temperature: float = 1.0) -> FloatArray:
        """Calibrated probabilities `(n, K)`."""
        return softmax(self.logits, temperature)

    @property
    def chosen(self) -> IntArray:
        """The predicted class of every row, `(n,)`."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one, `(n,)`."""
        return np.asarray(self.chosen == self.labels)
