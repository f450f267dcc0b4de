"""Out-of-fold results of many heads at once: closed-form screens and logistic paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.metrics import row_nll
from headstart.head.columns import Columns
from headstart.head.linear import LinearHead
from headstart.head.logistic import FINAL_TOLERANCE, PATH_TOLERANCE, Point, fit_logistic, problem_of
from headstart.head.parallel import each
from headstart.head.ridge import KINDS, DepthSet, Grid, cross_validate, fit_closed
from headstart.head.space import open_space

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

# flops of one path of logistic regression above which closed forms alone are tried: some 20 s on two cores
AFFORDABLE = 1.5e12
CELLS = 40_000_000  # of one fold's training rows in float32: 160 MB
STEPS = 20 * 6  # iterations per penalty x penalties visited, about

KEPT_CELLS = 6_000_000  # float32 logits of a screen that are kept: 24 MB
LARGE = 16_000_000  # cells from which the first fold alone walks the path and the others take its best penalty
RISE = 1.02  # held-out log-loss over that of the stronger penalty at which a fold leaves the path
ROTATE_FROM = 8  # classes from which the rotation's eigenvalues cost less than the iterations they save
ROTATE_UP_TO = 2000  # at 1,938 x 2,064 and 86 classes they take 1.3 s and still pay: 7.7 s a path against 9.6


@dataclass(frozen=True)
class Task:
    """What is learned: columns, labels `(n,)`, number of classes, folds `(repeats, n)`."""

    columns: Columns
    labels: IntArray
    n_classes: int
    folds: IntArray

    @property
    def cells(self) -> int:
        """Numbers of the out-of-fold logits of one head."""
        return len(self.folds) * self.columns.n * self.n_classes

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Rows that are held out in at least one repeat."""
        return np.asarray((self.folds >= 0).any(axis=0), np.bool_)


@dataclass(frozen=True)
class Screened:
    """A depth set with one kind: `correct` `(P, n)` share of repeats in which each row was right, per penalty.

    `logits` `(P, repeats, n, K)` out of fold, or None where they would not fit into memory.
    """

    depth_set: DepthSet
    kind: str
    penalties: tuple[float, ...]
    correct: FloatArray
    logits: FloatArray | None

    def best(self, judged: NDArray[np.bool_]) -> int:
        """The penalty to take, by the rows that were judged."""
        return int(best_penalties(self.correct[:, judged].mean(axis=1)[None])[0])


def best_penalties(accuracy: FloatArray) -> IntArray:
    """The penalty that is most often right, `(b,)` from `(b, P)`, strong to weak.

    Neighbours count half, which steadies the choice; ties: stronger.
    """
    padded = np.concatenate([accuracy[:, :1], accuracy, accuracy[:, -1:]], axis=1)
    steady = np.round(0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:], 12)
    return np.asarray(steady.argmax(axis=1))


def screen(task: Task, sets: Sequence[DepthSet], penalties: Sequence[tuple[float, ...]]) -> list[Screened]:
    """Closed-form heads for every set, kind and penalty."""
    n, repeats = task.columns.n, len(task.folds)
    heads = [(i, kind) for i in range(len(sets)) for kind in KINDS]
    correct = {(i, kind): np.zeros((len(penalties[i]), n), np.float32) for i, kind in heads}
    shapes = {(i, kind): (len(penalties[i]), repeats, n, task.n_classes) for i, kind in heads}
    # the widest sets cost most to compute again
    widest = sorted(heads, key=lambda head: -len(task.columns.indices(sets[head[0]].depths)))
    room = KEPT_CELLS - np.cumsum([int(np.prod(shapes[head])) for head in widest])
    kept = {
        head: np.full(shapes[head], np.nan, np.float32) for head, left in zip(widest, room, strict=True) if left >= 0
    }
    for repeat, folds in enumerate(task.folds):

        def receive(which: int, kind: str, at: int, held: IntArray, logits: FloatArray, repeat: int = repeat) -> None:
            correct[which, kind][at, held] += (logits.argmax(axis=1) == task.labels[held]) / repeats
            if (which, kind) in kept:
                kept[which, kind][at, repeat, held] = logits

        grids = [Grid(some) for some in penalties]
        cross_validate(task.columns, sets, task.labels, task.n_classes, folds, (grids, receive))
    return [Screened(sets[i], kind, penalties[i], correct[i, kind], kept.get((i, kind))) for i, kind in heads]


def closed_logits(task: Task, sets: Sequence[DepthSet], kinds: Sequence[str], penalties: Sequence[float]) -> FloatArray:
    """Out-of-fold logits `(S, repeats, n, K)` float32 of closed-form heads; NaN where a row is not judged."""
    logits = np.full((len(sets), len(task.folds), task.columns.n, task.n_classes), np.nan, np.float32)
    for repeat, folds in enumerate(task.folds):

        def receive(which: int, kind: str, at: int, held: IntArray, scores: FloatArray, repeat: int = repeat) -> None:
            logits[which, repeat, held] = scores

        grids = [Grid((penalty,), (kind,)) for penalty, kind in zip(penalties, kinds, strict=True)]
        cross_validate(task.columns, sets, task.labels, task.n_classes, folds, (grids, receive))
    return logits


def affordable(task: Task, depth_set: DepthSet) -> bool:
    """Whether a logistic path on this set fits into the time that a probe may take."""
    d = len(task.columns.indices(depth_set.depths))
    rows = int(np.mean([(f != p).sum() for f in task.folds for p in np.unique(f[f >= 0])]))
    fits = sum(len(np.unique(f[f >= 0])) for f in task.folds)
    columns = 1 if task.n_classes == 2 else task.n_classes
    return rows * d <= CELLS and 4.0 * rows * min(rows, d) * columns * STEPS * fits <= AFFORDABLE


def logistic_logits(task: Task, depth_set: DepthSet, penalties: Sequence[float]) -> FloatArray:
    """Out-of-fold logits `(P, repeats, n, K)` of a path of penalties, strong to weak; NaN where one was not tried.

    A fold leaves the path when its held-out log-loss has risen by 2 %. The first repeat of the folds walks it (of a
    large matrix the first fold alone); the others are fitted with the penalty that was best there, and the rest of what
    the first has found is dropped: a penalty is judged on every fold or on none.
    """
    n, repeats = task.columns.n, len(task.folds)
    logits = np.full((len(penalties), repeats, n, task.n_classes), np.nan, np.float32)
    columns = task.columns.pick(depth_set.depths)
    factors = depth_set.factors_of(task.columns)

    def fold_path(where: tuple[int, int], tried: Sequence[int]) -> None:
        repeat, fold = where
        folds = task.folds[repeat]
        rows, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        space = open_space(columns, rows, factors, _rotates(task, columns.d))
        problem = problem_of(space, task.labels[rows], task.n_classes)
        outside = space.project(held)
        point: Point | None = None
        losses: list[float] = []
        for at in tried:
            point = fit_logistic(problem, penalties[at], point, PATH_TOLERANCE)
            weights, bias = point.pair()
            logits[at, repeat, held] = outside @ weights + bias
            losses.append(float(row_nll(logits[at, repeat, held], task.labels[held]).mean()))
            if len(losses) > 1 and losses[-1] > RISE * losses[-2]:
                break

    where = [(r, int(fold)) for r in range(repeats) for fold in np.unique(task.folds[r]) if fold >= 0]
    first = where[:1] if n * columns.d > LARGE else [w for w in where if w[0] == where[0][0]]
    each(lambda one: fold_path(one, range(len(penalties))), first, n * columns.d)
    if others := where[len(first) :]:
        best = _lowest(logits[:, first[0][0]], task.labels)
        logits[[at for at in range(len(penalties)) if at != best]] = np.nan
        each(lambda one: fold_path(one, [best]), others, n * columns.d)
    return logits


def _lowest(logits: FloatArray, labels: IntArray) -> int:
    """The penalty with the lowest log-loss of those `(P, n, K)` that every judged fold has reached."""
    known = np.isfinite(logits[0, :, 0])
    losses = [row_nll(some[known], labels[known]).mean() for some in logits]
    return int(np.nanargmin(losses))


def fit_head(task: Task, depth_set: DepthSet, kind: str, penalty: float, rows: IntArray | None = None) -> LinearHead:
    """One head on `rows` of a depth set, as exactly as along a path; on all rows, the default, to the end."""
    columns = task.columns.pick(depth_set.depths)
    factors = depth_set.factors_of(task.columns)
    labels = task.labels if rows is None else task.labels[rows]
    if kind in KINDS:
        if rows is not None:
            columns = Columns(tuple(m[rows] for m in columns.matrices), columns.mean, columns.scale)
        return fit_closed(columns, labels, task.n_classes, factors, kind, penalty)
    everything = np.arange(columns.n) if rows is None else rows
    space = open_space(columns, everything, factors, _rotates(task, columns.d))
    tolerance = FINAL_TOLERANCE if rows is None else PATH_TOLERANCE
    point = fit_logistic(problem_of(space, labels, task.n_classes), penalty, None, tolerance)
    return space.head(*point.pair())


def _rotates(task: Task, d: int) -> bool:
    """Rotating saves iterations where classes are many, costs the smaller side's third power, and needs room."""
    n = task.columns.n
    return task.n_classes >= ROTATE_FROM and min(n, d) <= ROTATE_UP_TO and n * d <= LARGE
