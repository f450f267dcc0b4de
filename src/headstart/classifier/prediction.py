"""Prediction: what a classifier says about one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, repr=False)
class Prediction:
    """One picture's answer.

    `path`: name of the file, safe to print, None for bytes and arrays. `top`: the likeliest classes with their
    probabilities (0..1), best first. For a picture that cannot be read `error` says why and `label` and `probability`
    are None.
    """

    path: str | None
    label: str | None
    probability: float | None
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    def __repr__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        if self.error is not None:
            return f"<{where}not read: {self.error}>"
        ranked = self.top or ((self.label, self.probability or 0.0),)
        return f"<{where}{', '.join(f'{name} {100 * p:.1f} %' for name, p in ranked)}>"


def rank(row: NDArray[np.floating], classes: Sequence[str], most: int) -> tuple[tuple[str, float], ...]:
    """The `most` likeliest classes of one row of probabilities `(K,)`; the first of equals comes first."""
    order = np.argsort(-row, kind="stable")[: max(most, 1)]
    return tuple((classes[k], float(row[k])) for k in order)
