"""Closed-form heads on more rows than memory holds: one pass of sums per fold, a second one judges what they gave.

The sums of a fold are a few thousand numbers squared, whatever the number of rows, and the training side of a fold is
the sum of the other folds: cross-validation and the final head are exact, the same as of `ridge` on one matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.head.columns import Columns
from headstart.head.discriminants import Form
from headstart.head.linear import LinearHead
from headstart.head.ridge import DepthSet, Normal, Sums, normal_of, one_hot, part_of
from headstart.head.systems import solve

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


@dataclass(frozen=True)
class Block:
    """m rows of a pass: a float16 or float32 `(m, d_i)` per depth; the rest int64 `(m,)`.

    `folds` count from 0; `rows` are the rows' numbers in the whole.
    """

    matrices: tuple[FloatArray, ...]
    labels: IntArray
    folds: IntArray
    rows: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: IntArray) -> Block:
        """The rows at `chosen`, in that order."""
        matrices = tuple(matrix[chosen] for matrix in self.matrices)
        return Block(matrices, self.labels[chosen], self.folds[chosen], self.rows[chosen])

    def wide(self, depths: Sequence[int]) -> FloatArray:
        """Some depths side by side `(m, sum of dims)`."""
        picked = [self.matrices[i] for i in depths]
        return picked[0] if len(picked) == 1 else np.concatenate(picked, axis=1)


@dataclass(frozen=True)
class Variant:
    """A kind of closed form ("ridge", "lda") with its penalty."""

    kind: str
    penalty: float


@dataclass(frozen=True)
class FoldSums:
    """One `Sums` per fold over columns that `mean` and `scale` `(d,)` condition (they change no result).

    `dims`: width of every depth.
    """

    folds: tuple[Sums, ...]
    mean: FloatArray
    scale: FloatArray
    dims: tuple[int, ...]

    @property
    def n(self) -> int:
        """Rows of all folds."""
        return sum(sums.n for sums in self.folds)

    def training(self, held: int | None) -> tuple[Normal, int]:
        """The normal equations of every fold but `held` (None: of all) and the number of their rows."""
        kept = [sums for fold, sums in enumerate(self.folds) if fold != held]
        whole = Sums(
            sum(sums.n for sums in kept),
            np.sum([sums.total for sums in kept], axis=0),
            kept[0].products.copy(),
            np.sum([sums.by_class for sums in kept], axis=0),
            np.sum([sums.counts for sums in kept], axis=0),
        )
        for sums in kept[1:]:
            np.add(whole.products, sums.products, out=whole.products)
        return normal_of(whole, self.scale, self.dims), whole.n

    def indices(self, depth_set: DepthSet) -> tuple[IntArray, FloatArray]:
        """The columns of a set and their factors `(d_S,)`."""
        edges = np.concatenate([[0], np.cumsum(self.dims)])
        chosen = np.concatenate([np.arange(edges[i], edges[i + 1]) for i in depth_set.depths])
        return chosen, np.repeat(np.asarray(depth_set.factors, np.float64), [self.dims[i] for i in depth_set.depths])

    def part(self, normal: Normal, depth_set: DepthSet) -> Normal:
        """The equations of a depth set, out of those of all columns."""
        return part_of(normal, *self.indices(depth_set))


def sums_by_fold(blocks: Iterable[Block], frame: Columns, n_classes: int, folds: int) -> FoldSums:
    """One pass: the sums of every fold in float64. `frame`: rows that stand for all, to condition by (columns_of)."""
    d = frame.d
    totals, products = np.zeros((folds, d)), [np.zeros((d, d)) for _ in range(folds)]
    by_class, counts = np.zeros((folds, d, n_classes)), np.zeros((folds, n_classes))
    scratch = np.empty((d, d))
    for block in blocks:
        columns = Columns(block.matrices, frame.mean, frame.scale)
        for fold in np.unique(block.folds).tolist():
            rows = np.flatnonzero(block.folds == fold)
            counts[fold] += np.bincount(block.labels[rows], minlength=n_classes)
            for positions, X in columns.blocks(rows):
                totals[fold] += X.sum(axis=0)
                np.matmul(X.T, X, out=scratch)
                products[fold] += scratch
                by_class[fold] += X.T @ one_hot(block.labels[rows[positions]], n_classes)
    sums = [Sums(int(counts[f].sum()), totals[f], products[f], by_class[f], counts[f]) for f in range(folds)]
    return FoldSums(tuple(sums), frame.mean, frame.scale, tuple(m.shape[1] for m in frame.matrices))


def stacked(
    sums: FoldSums, training: tuple[Normal, int], depth_set: DepthSet, variants: Sequence[Variant]
) -> LinearHead:
    """The heads of some variants on one set as one head of `(V K)` outputs; they read the depths side by side."""
    normal, n = training
    chosen, factors = sums.indices(depth_set)
    part = part_of(normal, chosen, factors)
    weights, biases = [], []
    solved: dict[float, FloatArray] = {}
    for variant in variants:
        if variant.penalty not in solved:
            solved[variant.penalty] = solve(part.covariance, part.cross, variant.penalty)
        solution = solved[variant.penalty]
        turn, bias = Form(part.priors, part.cross.T @ solution, n).turn(variant.kind)
        weights.append((solution @ turn).T)
        biases.append(bias)
    mean, scale = sums.mean[chosen], sums.scale[chosen]
    return LinearHead(np.concatenate(weights), np.concatenate(biases), mean + scale * part.mean, scale * part.scale)


def held_out(block: Block, heads: Sequence[LinearHead], depths: Sequence[int]) -> FloatArray:
    """Float32 logits `(m, C)` of every row by the head of its own fold, which never saw it. `heads`: one per fold."""
    logits = np.empty((len(block), len(heads[0].bias)), np.float32)
    X = block.wide(depths)
    for fold in np.unique(block.folds).tolist():
        rows = np.flatnonzero(block.folds == fold)
        logits[rows] = heads[fold].logits(X[rows])
    return logits
