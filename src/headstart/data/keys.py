"""Folds for more pictures than a list can deal out: by a hash of what belongs together. A few numbers per picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Ids = NDArray[np.int64]

NO_GROUP = np.uint64(0)


def together(pixels: Keys, groups: Keys | None = None) -> Ids:
    """Per picture `(n,)` the smallest row of those it belongs to: equal `pixels`, one group, or a chain of both.

    `pixels`, `groups`: 64 bits of a hash `(n,)`; a group of 0 is none. (At 10 million pictures two different ones share
    64 bits with a probability of 3e-6; they would be put into one fold.)
    """
    of_pixels = np.unique(pixels, return_inverse=True)[1]
    ids = _smallest(np.arange(len(pixels), dtype=np.int64), of_pixels)
    if groups is None:
        return ids
    grouped = np.flatnonzero(groups != NO_GROUP)
    of_group = np.unique(groups[grouped], return_inverse=True)[1]
    while True:  # chains are short: a picture in two groups, whose pictures are in a third
        before = ids.copy()
        ids[grouped] = _smallest(ids[grouped], of_group)
        ids = _smallest(ids, of_pixels)
        if np.array_equal(ids, before):
            return ids


def hashed_folds(keys: Keys, seed: int, folds: int) -> Ids:
    """A fold `(n,)` from 0 per key; equal keys share one, and a key's fold does not depend on the other keys.

    Classes are spread in proportion only on average: at ten thousand pictures of a class a fold's share is off by 2 %.
    """
    with np.errstate(over="ignore"):  # splitmix64 (Steele 2014)
        x = keys + np.uint64(0x9E3779B97F4A7C15) * np.uint64(2 * seed + 1)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x % np.uint64(folds)).astype(np.int64)


def contradicted(pixels: Keys, labels: Ids) -> NDArray[np.bool_]:
    """Pictures `(n,)` whose equal pixels stand in two classes as well."""
    of_pixels = np.unique(pixels, return_inverse=True)[1]
    largest = np.full(of_pixels.max(initial=-1) + 1, -1, np.int64)
    np.maximum.at(largest, of_pixels, labels)
    return np.asarray(_smallest(labels, of_pixels) != largest[of_pixels], np.bool_)


def _smallest(values: Ids, of: Ids) -> Ids:
    """For every row the smallest of the values of its number in `of`."""
    least = np.full(of.max(initial=-1) + 1, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(least, of, values)
    return np.asarray(least[of], np.int64)
