"""Depths side by side as one wide matrix that is never built: float16 stays float16, blocks of rows are widened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

ROWS = 1024  # one block of 2,064 float64 columns: 17 MB
CONSTANT = 1e-8  # a deviation below this share of the mean is rounding, not a feature
ROUNDING = 1e-7  # of the deviation of all rows: what is less in some rows is rounding of float32 sums
# Share of its depth's typical deviation by which a feature is divided that varies less. By hand, with 5 and 20 pictures
# per class of three sets, 0.1 to 1 are level. With none, the head that fine-tuning starts from on 200 written digits
# had 89.8 % of new ones right at a log-loss of 0.94; with it 93.3 % at 0.26
LEAST = 0.3


def divisors(deviation: FloatArray, scale: FloatArray, dims: Sequence[int]) -> FloatArray:
    """By what columns `(d,)` are divided whose deviation, in the rows that are learned from, is `deviation` x `scale`.

    `dims`: width of every depth. A channel that hardly varies in these rows is not blown up to a feature like others:
    in a picture in which it does vary, it would outweigh them all. Typical is the root mean square of those that vary.
    """
    raw = deviation * scale
    raw = np.where(deviation > ROUNDING, raw, 0.0)
    parts = np.split(raw, np.cumsum(dims)[:-1])
    typical = [np.sqrt(np.mean(part[part > 0] ** 2)) if np.any(part > 0) else 0.0 for part in parts]
    divided = np.maximum(raw, LEAST * np.repeat(typical, dims))
    return np.where(divided > 0, divided, scale) / scale


@dataclass(frozen=True)
class Columns:
    """Feature matrices `(n, d_i)` of the same rows, with overall mean and scale `(d,)` for numerical conditioning only.

    Dividing every column by one fixed number before the in-fold standardisation changes no result; it keeps the sums
    of squares from which folds are subtracted well scaled.
    """

    matrices: tuple[FloatArray, ...]
    mean: FloatArray
    scale: FloatArray

    @property
    def n(self) -> int:
        return len(self.matrices[0])

    @property
    def d(self) -> int:
        return len(self.mean)

    @property
    def dims(self) -> tuple[int, ...]:
        """Width of every matrix."""
        return tuple(m.shape[1] for m in self.matrices)

    def span(self, matrix: int) -> slice:
        """The columns that belong to one matrix."""
        start = sum(m.shape[1] for m in self.matrices[:matrix])
        return slice(start, start + self.matrices[matrix].shape[1])

    def indices(self, which: Sequence[int]) -> IntArray:
        """The columns `(d_S,)` of a set of matrices, in their order."""
        spans = [self.span(i) for i in which]
        return np.concatenate([np.arange(s.start, s.stop) for s in spans])

    def pick(self, which: Sequence[int]) -> Columns:
        """Only these matrices."""
        columns = self.indices(which)
        return Columns(tuple(self.matrices[i] for i in which), self.mean[columns], self.scale[columns])

    def take(self, rows: IntArray, dtype: type[np.floating] = np.float32) -> FloatArray:
        """Centred and scaled rows `(m, d)`; nothing of that size is held beside the result."""
        mean, scale = self.mean.astype(dtype), self.scale.astype(dtype)
        wide = np.empty((len(rows), self.d), dtype)
        for start in range(0, len(rows), ROWS):
            block = wide[start : start + ROWS]
            part = rows[start : start + ROWS]
            for i, matrix in enumerate(self.matrices):
                block[:, self.span(i)] = matrix[part]
            block -= mean
            block /= scale
        return wide

    def blocks(self, rows: IntArray, dtype: type[np.floating] = np.float64) -> Iterator[tuple[IntArray, FloatArray]]:
        """`(positions in rows, block)` in turn."""
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            yield np.arange(start, start + len(part)), self.take(part, dtype)


def columns_of(matrices: Sequence[FloatArray]) -> Columns:
    """Wrap matrices of the same rows; float16, float32 or float64. Raises ValueError on ragged or non-finite input."""
    n = len(matrices[0])
    if any(m.ndim != 2 or len(m) != n for m in matrices):
        raise ValueError(f"matrices must be 2-d with one number of rows, not {[m.shape for m in matrices]}")
    moments = [_moments(m) for m in matrices]
    mean = np.concatenate([m for m, _ in moments])
    scale = np.concatenate([s for _, s in moments])
    if not np.all(np.isfinite(mean)) or not np.all(np.isfinite(scale)):
        raise ValueError("features hold values that are not finite")
    return Columns(tuple(matrices), mean, scale)


def _moments(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    n, d = matrix.shape
    mean = np.zeros(d)
    for start in range(0, n, ROWS):
        mean += np.asarray(matrix[start : start + ROWS], np.float64).sum(axis=0)
    mean /= n
    squares = np.zeros(d)
    for start in range(0, n, ROWS):
        squares += ((np.asarray(matrix[start : start + ROWS], np.float64) - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / n)
    # a constant column would divide by zero; rounding of its mean must not be blown up to a feature either
    tiny = deviation <= CONSTANT * np.maximum(np.abs(mean), 1e-30)
    return mean, np.where(tiny | (deviation == 0), 1.0, deviation)
