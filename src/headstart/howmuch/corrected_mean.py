"""What the mean of heads will reach on new pictures: its members were picked for doing well on these.

The picking is repeated in every draw of a bootstrap, and the mean of what that picks is judged on the pictures that
were not drawn: BBC-CV (Tsamardinos et al. 2018) of a way to combine heads instead of one to choose among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.calibrate import fit_temperature
from headstart.evaluation.intervals import bootstrap_counts, wilson
from headstart.evaluation.selection import Corrected
from headstart.howmuch.choice import Judged
from headstart.howmuch.screen import Screened, Task, best_penalties

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

ENOUGH_TO_COOL = 200  # rows that tell a temperature; there are a hundred heads and penalties to cool
DRAWS = 400  # their mean is known to a quarter of a point where one draw has 5 points of noise


def corrected_mean(
    task: Task, screened: Sequence[Screened], always: Sequence[Judged], count: int, groups: IntArray | None, seed: int
) -> Corrected | None:
    """Accuracy, with its 95 % interval, of the mean of the `count` best of `screened`, the last layer's and `always`.

    The interval is that of the draws, and no narrower than Wilson's: ten pictures that are all right say little.
    `always`: members that were not picked by how well they did. `groups` of the judged rows, drawn together, or None.
    None where the logits of a head were too many to keep, or nothing can be left out of a draw.
    """
    if any(s.logits is None for s in screened):
        return None
    rows = np.flatnonzero(task.judged)
    right = [s.correct[:, rows].astype(np.float64) for s in screened]
    calm = _Calm(task, screened, rows)
    fixed = np.sum([np.nan_to_num(j.repeats[:, rows]) for j in always], axis=0) if always else 0.0
    last = len(task.columns.matrices) - 1
    singles = np.array([s.depth_set.depths == (last,) for s in screened])
    values: list[float] = []
    for counts in bootstrap_counts(len(rows) if groups is None else groups, seed, DRAWS):
        best, accuracy = _penalties(counts, right)
        order = np.argsort(-accuracy, axis=1, kind="stable")
        for drawn, ranked, penalty in zip(counts, order, best, strict=True):
            left_out = np.flatnonzero(drawn == 0)
            if not len(left_out):
                continue
            picked = list(ranked[:count])
            picked += [] if singles[picked].any() else [next(h for h in ranked if singles[h])]
            total = fixed + sum(calm.logits(head, int(penalty[head])) for head in picked)
            values.append(calm.share_right(np.asarray(total)[:, left_out], left_out))
    if not values:
        return None
    value, alone = float(np.mean(values)), len(rows) if groups is None else len(np.unique(groups))
    low, high = wilson(value * alone, alone)
    return Corrected(value, float(min(low, np.quantile(values, 0.025))), float(max(high, np.quantile(values, 0.975))))


def _penalties(counts: FloatArray, right: Sequence[FloatArray]) -> tuple[IntArray, FloatArray]:
    """The penalty of every head, chosen on the rows drawn, and its accuracy there: both `(b, heads)`."""
    total = counts.sum(axis=1, keepdims=True)
    best, accuracy = [], []
    for correct in right:
        found = counts @ correct.T / total
        at = best_penalties(found)
        best.append(at)
        accuracy.append(found[np.arange(len(found)), at])
    return np.stack(best, axis=1), np.stack(accuracy, axis=1)


class _Calm:
    """Out-of-fold logits `(repeats, judged rows, K)` of a head at one penalty, at its temperature; each made once."""

    def __init__(self, task: Task, screened: Sequence[Screened], rows: IntArray) -> None:
        self._screened, self._rows = screened, rows
        self._labels = task.labels[rows]
        self._present = task.folds[:, rows] >= 0
        self._made: dict[tuple[int, int], FloatArray] = {}

    def logits(self, head: int, penalty: int) -> FloatArray:
        """Zero where a row is not judged in a repeat."""
        if (head, penalty) not in self._made:
            kept = self._screened[head].logits
            assert kept is not None  # noqa: S101  (asked before)
            found = np.where(self._present[:, :, None], kept[penalty][:, self._rows], 0)
            labels = np.broadcast_to(self._labels, self._present.shape)
            step = max(1, int(self._present.sum()) // ENOUGH_TO_COOL)
            temperature = fit_temperature(found[self._present][::step], labels[self._present][::step])
            self._made[head, penalty] = np.asarray(found / np.float32(temperature), np.float32)
        return self._made[head, penalty]

    def share_right(self, logits: FloatArray, left_out: IntArray) -> float:
        """Of some of the rows: mean over rows of the share of repeats in which they are right."""
        present = self._present[:, left_out]
        right = (logits.argmax(axis=2) == self._labels[left_out]) & present
        return float((right.sum(axis=0) / present.sum(axis=0)).mean())
