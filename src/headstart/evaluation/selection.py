"""What choosing among candidates costs: the bootstrap bias-corrected cross-validation of Tsamardinos et al. (2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import bootstrap_counts

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

DRAWS = 1000


@dataclass(frozen=True)
class Corrected:
    """A winner's score as it would be on new pictures, with its 95 % interval."""

    value: float
    low: float
    high: float


def bbc_cv(
    criterion: FloatArray,
    correct: NDArray[np.bool_] | FloatArray,
    groups: IntArray | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Corrected:
    """BBC-CV: draw rows, choose the best candidate on the rows drawn, score it on the rows left out.

    `criterion` `(C, n)`: what the choice looks at, larger is better (rightness, or minus log-loss);
    `correct` `(C, n)`: what is reported. Both out of fold. Groups are drawn together. Ties go to the first candidate.
    """
    # float32 holds counts of draws exactly and halves hundreds of candidates times all rows
    criterion = np.asarray(criterion, np.float32)
    scores = np.asarray(correct, np.float32)
    if criterion.shape != scores.shape or criterion.ndim != 2 or criterion.shape[1] == 0:
        raise ValueError(f"expected two (C, n) arrays of one shape, not {criterion.shape} and {scores.shape}")
    n = criterion.shape[1]
    found: list[FloatArray] = []
    for counts in bootstrap_counts(n if groups is None else groups, seed, draws):
        best = (counts.astype(np.float32) @ criterion.T).argmax(axis=1)
        left_out = (counts == 0).astype(np.float32)
        size = left_out.sum(axis=1)
        usable = size > 0
        found.append(((left_out * scores[best]).sum(axis=1)[usable]) / size[usable])
    values = np.concatenate(found) if found else np.empty(0)
    if len(values) == 0:  # one group: nothing can be left out
        value = float(scores[criterion.mean(axis=1).argmax()].mean())
        return Corrected(value, 0.0, 1.0)
    low, high = np.quantile(values, [0.025, 0.975])
    return Corrected(float(values.mean()), float(low), float(high))
