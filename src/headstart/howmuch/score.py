"""What an arm is worth so far: its out-of-fold logits, cooled, and the epoch (or blend) that is best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.calibrate import fit_temperature
from headstart.evaluation.intervals import paired_standard_error
from headstart.evaluation.metrics import row_nll
from headstart.howmuch.arm import FoldResult, FrozenAnswer

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

LEVEL_TOP1 = 1.0  # paired standard errors within which two arms are as accurate (as in `choice`)
ROUNDING = 1e-12
ONE_SIDED_95 = 1.645  # upper end of a 90 % interval
ENOUGH_TO_COOL, CELLS_TO_COOL = 500, 60_000  # rows at least, and logits at most: a temperature is one number


@dataclass(frozen=True)
class Version:
    """One set of weights of an arm: those after `epoch` (1-based), or halfway between start and end (`blend`)."""

    epoch: int
    blend: bool = False


@dataclass(frozen=True)
class Score:
    """An arm on its m judged rows: `rows` `(m,)` ascending; `correct` (share of repeats) and `losses` (nats) `(V, m)`.

    V versions, each cooled by its own of `temperatures`; `chosen` has the lowest mean loss. `logits` `(m, K)`: cooled
    ones of the chosen version, averaged over repeats.
    """

    rows: IntArray
    versions: tuple[Version, ...]
    temperatures: tuple[float, ...]
    correct: FloatArray
    losses: FloatArray
    chosen: int
    logits: FloatArray

    @property
    def version(self) -> Version:
        """The chosen version: what a refit trains."""
        return self.versions[self.chosen]

    @property
    def top1(self) -> float:
        """Accuracy of the chosen version, 0..1."""
        return float(self.correct[self.chosen].mean())

    @property
    def nll(self) -> float:
        """Mean log-loss of the chosen version in nats."""
        return float(self.losses[self.chosen].mean())

    def at(self, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """`correct` and `losses` `(V, len(rows))` on some of its own rows."""
        where = np.searchsorted(self.rows, rows)
        return self.correct[:, where], self.losses[:, where]


def score_of(units: Sequence[FoldResult], labels: IntArray, first: int = 1, last_only: bool = False) -> Score:
    """Score an arm on every row that its `units` (at least one, none failed) held out.

    `first`: the epoch (1-based) before which it is no version. `last_only`: the weights after the last epoch are the
    only version, since they may be saved as they are.
    """
    epochs = min(len(u.logits) for u in units)
    recorded = range(epochs - 1 if last_only else min(first, epochs) - 1, epochs)
    versions = [Version(e + 1) for e in recorded]
    stacks = [np.concatenate([u.logits[e] for u in units]) for e in recorded]
    if not last_only and all(u.blend is not None for u in units):
        versions.append(Version(epochs, blend=True))
        stacks.append(np.concatenate([u.blend for u in units if u.blend is not None]))
    every = np.concatenate([u.rows for u in units])
    rows, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
    correct, losses = np.zeros((len(versions), len(rows))), np.zeros((len(versions), len(rows)))
    temperatures = []
    for v, logits in enumerate(stacks):
        temperature, right, loss = cooled(logits, labels[every])
        temperatures.append(temperature)
        correct[v] = np.bincount(inverse, weights=right, minlength=len(rows)) / counts
        losses[v] = np.bincount(inverse, weights=loss, minlength=len(rows)) / counts
    chosen = int(losses.mean(axis=1).argmin())
    mean = np.zeros((len(rows), stacks[chosen].shape[1]))
    np.add.at(mean, inverse, stacks[chosen] / temperatures[chosen])
    mean /= counts[:, None]
    return Score(rows, tuple(versions), tuple(temperatures), correct, losses, chosen, mean.astype(np.float32))


def cooled(logits: FloatArray, labels: IntArray) -> tuple[float, FloatArray, FloatArray]:
    """The temperature of `logits` `(m, K)`, rightness `(m,)` and log-loss `(m,)` of every row at it."""
    step = max(1, len(labels) // max(ENOUGH_TO_COOL, CELLS_TO_COOL // logits.shape[1]))
    temperature = fit_temperature(logits[::step], labels[::step])
    right = (logits.argmax(axis=1) == labels).astype(np.float64)
    return temperature, right, row_nll(logits, labels, temperature)


def frozen_on(answer: FrozenAnswer, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Rightness and log-loss `(m,)` of the frozen answer on `rows`, cooled on them as an arm is."""
    _, right, losses = cooled(answer.logits[rows], answer.labels[rows])
    return right, losses


def beaten(own: FloatArray, other: FloatArray, groups: IntArray | None) -> bool:
    """Whether rightness `own` `(m,)` is below `other` on the same rows by more than noise (90 % interval)."""
    upper = own.mean() - other.mean() + ONE_SIDED_95 * paired_standard_error(own, other, groups)
    return bool(upper < 0)


def behind(score: Score, leader: Score, groups: IntArray | None) -> float | None:
    """By how much (0..1) a score is behind another on the rows of both, where that is beyond noise; else None."""
    rows = np.intersect1d(score.rows, leader.rows, assume_unique=True)
    if not len(rows):
        return None
    own, other = score.at(rows)[0][score.chosen], leader.at(rows)[0][leader.chosen]
    return float(other.mean() - own.mean()) if beaten(own, other, None if groups is None else groups[rows]) else None


def behind_frozen(score: Score, answer: FrozenAnswer) -> float | None:
    """The same against the frozen answer, which has to have the lower log-loss, too."""
    right, losses = frozen_on(answer, score.rows)
    own, groups = score.correct[score.chosen], answer.groups
    if score.nll <= losses.mean() or not beaten(own, right, None if groups is None else groups[score.rows]):
        return None
    return float(right.mean() - own.mean())


def ranked(scores: Sequence[Score], groups: IntArray | None = None) -> list[int]:
    """Indices of `scores`, best first, on the rows that all of them judged.

    Accuracy first; those level with the most accurate within a paired standard error by log-loss, the others after
    them by accuracy. On the few rows of one fold that is mostly log-loss, which tells more per row.
    """
    rows = scores[0].rows
    for score in scores[1:]:
        rows = np.intersect1d(rows, score.rows, assume_unique=True)
    if not len(rows):
        return sorted(range(len(scores)), key=lambda i: (-scores[i].top1, scores[i].nll))
    picked = [(s.at(rows)[0][s.chosen], s.at(rows)[1][s.chosen]) for s in scores]
    top1, nll = [float(c.mean()) for c, _ in picked], [float(loss.mean()) for _, loss in picked]
    best = min(range(len(scores)), key=lambda i: (-top1[i], nll[i]))
    own = None if groups is None else groups[rows]
    level = [
        top1[best] - top1[i] <= LEVEL_TOP1 * paired_standard_error(picked[best][0], picked[i][0], own) + ROUNDING
        for i in range(len(scores))
    ]
    return sorted(range(len(scores)), key=lambda i: (0, nll[i], 0.0) if level[i] else (1, -top1[i], nll[i]))
