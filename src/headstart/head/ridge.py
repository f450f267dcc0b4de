"""Closed-form heads: ridge on one-hot targets and shrunk linear discriminants; exact k-fold, standardised in the fold.

A fold's training covariance is the total minus the fold's own share, so every picture is read twice however many
folds, depth sets and penalties there are. With fewer rows than features the dual (kernel) form is solved instead.
Penalties are in mean form: minimise |XW + b - Y|^2 / n + penalty |W|^2 (scikit-learn's Ridge: alpha = n * penalty).

Where classes are fewer than features the discriminants cost next to nothing more (`discriminants`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.head.columns import Columns, divisors
from headstart.head.discriminants import Form, direct
from headstart.head.linear import LinearHead
from headstart.head.parallel import each
from headstart.head.systems import solutions, solve
from headstart.predictions import blocks

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
# receives (set, kind, penalty index, held-out rows, their logits (m, K))
Receiver = Callable[[int, str, int, IntArray, FloatArray], None]

KINDS = ("ridge", "lda")
TOGETHER = 256  # score columns (penalties x classes) per pass over the held-out rows


@dataclass(frozen=True)
class Sums:
    """Row count, column sums `(d,)`, products `(d, d)` and class sums `(d, K)` of some rows, and their class counts."""

    n: int
    total: FloatArray
    products: FloatArray
    by_class: FloatArray
    counts: FloatArray


def sums_of(columns: Columns, rows: IntArray, labels: IntArray, n_classes: int) -> Sums:
    """Sums over `rows` in float64, block by block."""
    d = columns.d
    total, products, by_class = np.zeros(d), np.zeros((d, d)), np.zeros((d, n_classes))
    rows = rows[np.argsort(labels[rows], kind="stable")]  # so that a block holds few classes
    for positions, block in columns.blocks(rows):
        total += block.sum(axis=0)
        products += block.T @ block
        own = labels[rows[positions]]
        first, last = own[0], own[-1] + 1
        by_class[:, first:last] += block.T @ one_hot(own - first, last - first)
    return Sums(len(rows), total, products, by_class, np.bincount(labels[rows], minlength=n_classes).astype(np.float64))


@dataclass(frozen=True)
class DepthSet:
    """Depths (positions in the columns' matrices) and one factor per depth on its standardised features."""

    depths: tuple[int, ...]
    factors: tuple[float, ...]

    def factors_of(self, columns: Columns) -> FloatArray:
        """One factor per column `(d_S,)`, in the order of the depths."""
        widths = [columns.matrices[i].shape[1] for i in self.depths]
        return np.repeat(np.asarray(self.factors, np.float64), widths)


@dataclass(frozen=True)
class Normal:
    """The normal equations of some training rows, standardised on those rows: covariance, cross-covariance, priors."""

    mean: FloatArray
    scale: FloatArray
    covariance: FloatArray
    cross: FloatArray
    priors: FloatArray


def normal_of(sums: Sums, scale: FloatArray, dims: Sequence[int]) -> Normal:
    """Centre and scale the sums of the training rows; overwrites `sums.products`. A constant column weighs nothing.

    `scale` `(d,)` is what the columns were conditioned by, `dims` the width of every depth (`divisors`).
    """
    mean = sums.total / sums.n
    priors = sums.counts / sums.n
    covariance = sums.products
    covariance /= sums.n
    covariance -= np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    scale = divisors(deviation, scale, dims)
    covariance /= scale
    covariance /= scale[:, None]
    cross = (sums.by_class / sums.n - np.outer(mean, priors)) / scale[:, None]
    return Normal(mean, scale, covariance, cross, priors)


@dataclass(frozen=True)
class Grid:
    """What is cross-validated on a depth set: every penalty with each of the `kinds`."""

    penalties: Sequence[float]
    kinds: Sequence[str] = KINDS


def cross_validate(
    columns: Columns,
    sets: Sequence[DepthSet],
    labels: IntArray,
    n_classes: int,
    folds: IntArray,
    task: tuple[Sequence[Grid], Receiver],
) -> None:
    """Out-of-fold logits of every depth set, kind and penalty, handed over one by one (never all in memory).

    `folds` `(n,)`, -1 = always in training; `task` = (the grid of every set, receiver).
    """
    grids, receive = task
    parts = [int(f) for f in np.unique(folds) if f >= 0]
    smallest = min(int(np.sum(folds != f)) for f in parts)
    primal = [i for i, s in enumerate(sets) if len(columns.indices(s.depths)) <= smallest]
    dual = [i for i in range(len(sets)) if i not in primal]
    if primal:
        used = sorted({depth for i in primal for depth in sets[i].depths})
        place = {depth: at for at, depth in enumerate(used)}
        picked = columns.pick(used)
        total = sums_of(picked, np.arange(columns.n), labels, n_classes)

        def in_primal(fold: int) -> None:
            held = np.flatnonzero(folds == fold)
            normal = normal_of(_minus(total, sums_of(picked, held, labels, n_classes)), picked.scale, picked.dims)
            for i in primal:
                chosen = picked.indices([place[depth] for depth in sets[i].depths])
                part = part_of(normal, chosen, sets[i].factors_of(columns))
                _primal(columns.pick(sets[i].depths), part, held, (i, grids[i], receive), len(labels) - len(held))

        each(in_primal, parts, max(columns.n * picked.d, 2 * picked.d**2))

    def in_dual(fold: int) -> None:
        held, rows = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        targets = one_hot(labels[rows], n_classes)
        for i, kernel in _kernels(columns, {i: sets[i] for i in dual}, rows, held).items():
            _dual(kernel, targets, (held, i, grids[i], receive))

    if dual:
        each(in_dual, parts, columns.n * columns.d)


def fit_closed(
    columns: Columns, labels: IntArray, n_classes: int, factors: FloatArray, kind: str, penalty: float
) -> LinearHead:
    """Ridge or discriminants on all rows; float64 coefficients, standardised by the rows' own moments and `factors`."""
    rows = np.arange(columns.n)
    priors = np.bincount(labels, minlength=n_classes) / len(labels)
    if columns.d <= columns.n:
        whole = normal_of(sums_of(columns, rows, labels, n_classes), columns.scale, columns.dims)
        normal = part_of(whole, np.arange(columns.d), factors)
        weights = solve(normal.covariance, normal.cross, penalty)
        mean, scale, cross = normal.mean, normal.scale, normal.cross
    else:
        X, mean, scale = _standardised(columns, rows, factors)
        targets = one_hot(labels, n_classes)
        weights = X.T @ solve(X @ X.T / len(X), (targets - priors) / len(X), penalty)
        cross = X.T @ (targets - priors) / len(X)
    form = Form(priors, cross.T @ weights, len(rows))
    turn, bias = form.turn(kind)
    return LinearHead((weights @ turn).T, bias, columns.mean + columns.scale * mean, columns.scale * scale)


def part_of(normal: Normal, chosen: IntArray, factors: FloatArray) -> Normal:
    """The equations of some columns, each standardised column multiplied by its factor."""
    if np.array_equal(chosen, np.arange(len(normal.mean))) and np.all(factors == 1.0):
        return normal
    covariance = normal.covariance[np.ix_(chosen, chosen)]
    covariance *= factors
    covariance *= factors[:, None]
    cross = normal.cross[chosen] * factors[:, None]
    return Normal(normal.mean[chosen], normal.scale[chosen] / factors, covariance, cross, normal.priors)


def _primal(columns: Columns, normal: Normal, held: IntArray, task: tuple[int, Grid, Receiver], n: int) -> None:
    which, grid, receive = task
    k = normal.cross.shape[1]
    together = max(1, TOGETHER // k)
    for start in range(0, len(grid.penalties), together):
        some = grid.penalties[start : start + together]
        heads = list(_solved(normal, Grid(some, grid.kinds), n))
        weights = np.concatenate([head.weights for head in heads], axis=1) / normal.scale[:, None]
        offset = np.concatenate([head.bias for head in heads]) - normal.mean @ weights
        for rows in blocks(len(held), weights.shape[1]):  # all of many pictures and classes would take gigabytes
            logits = np.empty((rows.stop - rows.start, weights.shape[1]))
            for positions, block in columns.blocks(held[rows]):
                part = logits[positions[0] : positions[-1] + 1]
                np.matmul(block, weights, out=part)
                part += offset
            for place, head in enumerate(heads):
                own = logits[:, place * k : (place + 1) * k]
                if head.kind in grid.kinds:
                    receive(which, head.kind, start + head.at, held[rows], own)
                if head.turn is not None:
                    matrix, bias = head.turn
                    receive(which, "lda", start + head.at, held[rows], own @ matrix + bias)


@dataclass(frozen=True)
class _Solved:
    """A head of `kind` at one penalty (its position) on centred features: `weights` `(d, K)`, `bias` `(K,)`.

    `turn`: matrix `(K, K)` and bias `(K,)` that make the logits of ridge into those of the discriminants, or None.
    """

    at: int
    kind: str
    weights: FloatArray
    bias: FloatArray
    turn: tuple[FloatArray, FloatArray] | None = None


def _solved(normal: Normal, grid: Grid, n: int) -> Iterator[_Solved]:
    """The heads of a grid; of few classes the discriminants are what ridge turns into, of many they are solved."""
    d, k = normal.cross.shape
    both = "lda" in grid.kinds and d > k
    if "ridge" in grid.kinds or both:
        for at, weights in enumerate(solutions(normal.covariance, normal.cross, grid.penalties)):
            turn = None
            if both:
                matrix, bias = Form(normal.priors, normal.cross.T @ weights, n).turn("lda")
                turn = matrix, bias - normal.priors @ matrix
            yield _Solved(at, "ridge", weights, normal.priors, turn)
    if "lda" in grid.kinds and not both:
        found = direct(normal.covariance, normal.cross, normal.priors, n, grid.penalties)
        yield from (_Solved(at, "lda", *head) for at, head in enumerate(found))


@dataclass(frozen=True)
class Kernel:
    """Products of standardised training rows with each other `(n, n)`, over n, and of held-out rows with them."""

    within: FloatArray
    towards: FloatArray


def _kernels(columns: Columns, sets: Mapping[int, DepthSet], rows: IntArray, held: IntArray) -> dict[int, Kernel]:
    """The kernel of every set: the sum of those of its depths, each of which is read and multiplied once."""
    found = {i: Kernel(np.zeros((len(rows),) * 2), np.zeros((len(held), len(rows)))) for i in sets}
    for depth in sorted({depth for one in sets.values() for depth in one.depths}):
        alone = columns.pick([depth])
        X, mean, scale = _standardised(alone, rows, np.ones(alone.d))
        within = X @ X.T / len(rows)
        towards = ((alone.take(held, np.float64) - mean) / scale) @ X.T
        for i, one in sets.items():
            if depth in one.depths:
                share = one.factors[one.depths.index(depth)] ** 2
                np.add(found[i].within, share * within, out=found[i].within)
                np.add(found[i].towards, share * towards, out=found[i].towards)
    return found


def _dual(kernel: Kernel, targets: FloatArray, task: tuple[IntArray, int, Grid, Receiver]) -> None:
    held, which, grid, receive = task
    priors = targets.mean(axis=0)
    centred = targets - priors
    for at, dual in enumerate(solutions(kernel.within, centred / len(targets), grid.penalties)):
        form = Form(priors, centred.T @ (kernel.within @ dual), len(targets))
        scores = kernel.towards @ dual
        for kind in grid.kinds:
            receive(which, kind, at, held, form.logits(scores, kind))


def _standardised(columns: Columns, rows: IntArray, factors: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    X = columns.take(rows, np.float64)
    mean = X.mean(axis=0)
    X -= mean
    deviation = np.sqrt((X**2).mean(axis=0))
    scale = divisors(deviation, columns.scale, columns.dims) / factors
    X /= scale
    return X, mean, scale


def _minus(total: Sums, part: Sums) -> Sums:
    np.subtract(total.products, part.products, out=part.products)
    return Sums(
        total.n - part.n,
        total.total - part.total,
        part.products,
        total.by_class - part.by_class,
        total.counts - part.counts,
    )


def one_hot(labels: IntArray, n_classes: int) -> FloatArray:
    """Float64 `(n, K)`."""
    targets = np.zeros((len(labels), n_classes))
    targets[np.arange(len(labels)), labels] = 1.0
    return targets
