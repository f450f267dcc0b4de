"""Which pictures are nearly the same one: thumbnails propose, thumbnails and features decide. Bounded memory.

Measured on 8 kinds of altered copies (JPEG 75 and 40, WebP 60, half size, 15 % brighter or darker, more contrast, and
several at once) of 40 pictures each, last layer of Lite0: pairs of *different* pictures, share of copies found.
"Features" is the other order (standardised cosine >= 0.8 proposes, thumbnail correlation >= 0.95 confirms); it was
dropped because a re-encoded copy can lie anywhere (WebP copies of elpv at cosines of 0.16 to 0.6).

    set        here          features          (pairs in emoji_subgroup: one drawing in two colours;
    elpv       33   99 %     3467   61 %        in gcompris: true copies under two names;
    nature      0   94 %        0   89 %        in elpv: intact neighbours of one panel.
    gcompris    3   98 %        3   92 %        What is not found: copies made so bright that white clips,
    cards       0   80 %        9   27 %        and half-size copies of 28-pixel digits.)
    digits8     0   98 %       22   12 %
    mnist5k     0   63 %       12   34 %
    emoji     110   78 %      150   56 %
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.closeness import Hits, Rows, correlated_blocks
from headstart.data.union import Union

ALONE = 0.998  # correlation of 32 x 32 thumbnails that needs no second opinion
WITH_FEATURES = 0.99  # correlation that is enough when ...
COSINE = 0.95  # ... features, standardised over the set, agree this well
_SCREEN = 0.985  # correlation at 16 x 16, a quarter of the work; copies only gain by averaging
_FLATTEST = 2.0  # grey levels of deviation; below, correlation is that of noise
_BRIGHTER, _CONTRAST = 48.0, 1.67  # grey levels and ratio by which a copy may differ
_PART, _PAIRS = 8192, 8192  # pictures and pairs at a time: some 8 to 32 MB of float32

Floats = NDArray[np.float32]
Pairs = NDArray[np.int64]


def near_groups(thumbnails: NDArray[np.uint8], vectors: NDArray[Any]) -> tuple[tuple[int, ...], ...]:
    """Groups of near-duplicates among `thumbnails` uint8 `(n, 32, 32)` with features `vectors` `(n, d)`."""
    n = len(thumbnails)
    union = Union(n)
    if n < 2:
        return ()
    mean, scale = _standard(vectors)
    small = _small(thumbnails)
    for block in correlated_blocks(small, _SCREEN):
        for waiting in _proposed(block, union):
            for start in range(0, len(waiting), _PAIRS):
                pairs = _apart(waiting[start : start + _PAIRS], union) if start else waiting[:_PAIRS]
                for i, j in _confirmed(pairs, thumbnails, vectors, mean, scale).tolist():
                    union.join(i, j)
    return union.groups()


def _small(thumbnails: NDArray[np.uint8]) -> Floats:
    """Thumbnails at 16 x 16 as unit rows `(n, 256)`; zero where a picture is flat."""
    small = np.empty((len(thumbnails), 256), dtype=np.float32)
    for start in range(0, len(thumbnails), _PART):
        part = thumbnails[start : start + _PART]
        pooled = part.reshape(len(part), 16, 2, 16, 2).mean(axis=(2, 4), dtype=np.float32)
        flat = part.reshape(len(part), -1).std(axis=1) < _FLATTEST
        small[start : start + _PART] = np.where(flat[:, None], 0, _unit(pooled.reshape(len(part), 256)))
    return small


def _proposed(block: tuple[Rows, Rows, Hits], union: Union) -> Iterator[Pairs]:
    """Pairs (i < j) of one block whose 16 x 16 thumbnails correlate; where all look alike, only those still apart."""
    rows, columns, hits = block
    step = len(hits) if np.count_nonzero(hits) <= _PAIRS else 32
    for start in range(0, len(hits), step):
        some = hits[start : start + step]
        if step < len(hits):
            roots = union.roots()
            some &= roots[rows[start : start + step], None] != roots[None, columns]
        a, b = np.divmod(np.flatnonzero(some), len(columns))
        yield np.sort(np.stack([rows[start + a], columns[b]], axis=1), axis=1)


def _apart(pairs: Pairs, union: Union) -> Pairs:
    roots = union.roots()
    still: Pairs = pairs[roots[pairs[:, 0]] != roots[pairs[:, 1]]]
    return still


def _confirmed(
    pairs: Pairs, thumbnails: NDArray[np.uint8], vectors: NDArray[Any], mean: Floats, scale: Floats
) -> Pairs:
    """Those of `pairs` that are near-duplicates."""
    kept = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(pairs), 4096):
        some = pairs[start : start + 4096]
        left, right = (thumbnails[some[:, side]].reshape(len(some), -1).astype(np.float32) for side in (0, 1))
        alike = (_unit(left) * _unit(right)).sum(axis=1)
        contrast = left.std(axis=1) / np.maximum(right.std(axis=1), 1e-3)
        same_light = np.abs(left.mean(axis=1) - right.mean(axis=1)) <= _BRIGHTER
        same_light &= (contrast <= _CONTRAST) & (contrast >= 1 / _CONTRAST)
        near = same_light & (alike >= ALONE)
        doubtful = np.flatnonzero(same_light & ~near & (alike >= WITH_FEATURES))
        if doubtful.size:
            first, second = ((vectors[some[doubtful, side]].astype(np.float32) - mean) * scale for side in (0, 1))
            near[doubtful] = (_normed(first) * _normed(second)).sum(axis=1) >= COSINE
        kept.append(some[near])
    return np.concatenate(kept)


def _standard(vectors: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean and 1 / deviation of every dimension; dimensions that hardly vary count nothing. Block by block."""
    total = np.zeros(vectors.shape[1])
    squares = np.zeros(vectors.shape[1])
    for start in range(0, len(vectors), _PART):
        part = vectors[start : start + _PART].astype(np.float64)
        total += part.sum(axis=0)
        squares += np.square(part).sum(axis=0)
    mean = total / len(vectors)
    deviation = np.sqrt(np.maximum(squares / len(vectors) - np.square(mean), 0))
    varies = deviation > 1e-3 * deviation.max(initial=0)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
    return mean.astype(np.float32), scale.astype(np.float32)


def _unit(rows: Floats) -> Floats:
    """Rows with mean 0 and length 1: their products are correlations."""
    return _normed(rows - rows.mean(axis=1, keepdims=True))


def _normed(rows: Floats) -> Floats:
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    result: Floats = rows / np.maximum(length, 1e-6)
    return result
