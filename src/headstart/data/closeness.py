"""Which rows of many can correlate: all pairs that do, without comparing all pairs.

Unit rows that correlate by c lie sqrt(2 - 2c) apart, and an orthogonal projection brings points closer, never further
apart. So rows are sorted into small boxes by their first two principal axes, boxes that lie too far apart are left out,
rows in the others are compared along the first sixteen axes, and what is left is compared in full. Nothing is missed,
whatever the axes; good ones leave little to compare.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

AXES = 16
_FEW = 1024  # rows that are compared in full at once; also those that the axes are computed from
_LEAF = 256  # rows of a box
_COLUMNS = 4096  # rows that those of a box are compared with at a time: 4 MB of float32
_DENSE = 16384  # pairs of such a block beyond which one product of all is faster than one after the other
_ROUNDING = 1e-3  # of squared distances in float32

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Hits = NDArray[np.bool_]


def correlated_blocks(rows: Floats, least: float) -> Iterator[tuple[Rows, Rows, Hits]]:
    """Every pair of `rows` (n, d) float32, of length 1 or 0, whose product is at least `least` (> 0), once.

    In blocks: indices (a,) and (b,) into `rows`, and which of the a x b pairs they are. Rows of length 0 have none.
    """
    index = np.flatnonzero(np.einsum("ij,ij->i", rows, rows) > 0.5)
    if index.size == 0:
        return
    if len(index) <= _FEW:
        yield index, index, np.triu(rows[index] @ rows[index].T >= least, 1)
        return
    points, apart = _projected(rows, index), 2.0 - 2.0 * least + _ROUNDING
    boxes = _boxes(points)
    left, right = _for_distances(points)
    for i, near in enumerate(_near(points, boxes, apart)):
        some, others = boxes[i], np.concatenate([boxes[j] for j in near])
        for start in range(0, len(others), _COLUMNS):
            part = others[start : start + _COLUMNS]
            hits = left[some] @ right[part].T >= -0.5 * apart
            if start == 0:  # a box is the first of those near itself
                hits[:, : len(some)] = np.triu(hits[:, : len(some)], 1)
            yield index[some], index[part], _in_full(hits, rows, index[some], index[part], least)


def _projected(rows: Floats, index: Rows) -> Floats:
    """The rows of `index` on the principal axes of an even sample of them, (len(index), AXES)."""
    sample = rows[index[:: max(1, len(index) // _FEW)]]
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(sample, rowvar=False, bias=True).astype(np.float64))
    first = np.ascontiguousarray(axes[:, ::-1][:, :AXES], dtype=np.float32)
    points = np.empty((len(index), first.shape[1]), np.float32)
    for start in range(0, len(index), _COLUMNS):
        points[start : start + _COLUMNS] = (rows[index[start : start + _COLUMNS]] - mean) @ first
    return points


def _boxes(points: Floats) -> list[Rows]:
    """The points in boxes of some _LEAF: strips along the first axis, each cut along the second."""
    boxes = [np.arange(len(points))]
    parts = int(np.ceil(np.sqrt(len(points) / _LEAF)))
    for axis in range(2):
        ordered = (box[np.argsort(points[box, axis], kind="stable")] for box in boxes)
        boxes = [part for box in ordered for part in np.array_split(box, parts) if part.size]
    return boxes


def _near(points: Floats, boxes: list[Rows], apart: float) -> Iterator[Rows]:
    """For every box itself and those after it that have a point within a squared distance of `apart`, perhaps."""
    low, high = (np.stack([end(points[box], axis=0) for box in boxes]) for end in (np.min, np.max))
    for i in range(len(boxes)):
        gap = np.maximum(np.maximum(low[i:] - high[i], low[i] - high[i:]), 0.0)
        yield i + np.flatnonzero(np.square(gap).sum(axis=1) <= apart)


def _for_distances(points: Floats) -> tuple[Floats, Floats]:
    """Two matrices whose products are minus half the squared distances of `points`."""
    half = 0.5 * np.square(points).sum(axis=1, keepdims=True)
    ones = np.ones_like(half)
    return np.hstack([points, -half, ones]), np.hstack([points, ones, -half])


def _in_full(hits: Hits, rows: Floats, some: Rows, others: Rows, least: float) -> Hits:
    """Those of `hits` (a, b) whose rows correlate by `least`."""
    if np.count_nonzero(hits) > _DENSE:
        dense: Hits = hits & (rows[some] @ rows[others].T >= least)
        return dense
    a, b = np.divmod(np.flatnonzero(hits), hits.shape[1])  # several times as fast as nonzero of two dimensions
    for start in range(0, len(a), _COLUMNS):
        i, j = a[start : start + _COLUMNS], b[start : start + _COLUMNS]
        hits[i, j] = np.einsum("ij,ij->i", rows[some[i]], rows[others[j]]) >= least
    return hits
