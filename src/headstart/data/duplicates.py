"""Duplicates: equal pixels decide what is left out; likeness only groups.

How likeness is decided, and what it finds, is in `likeness`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.likeness import near_groups
from headstart.data.union import Union

Groups = tuple[tuple[int, ...], ...]

# A near group above this share of the data (and this many pictures) is a common look, not one picture saved twice.
LARGE_SHARE = 0.01
LARGE_COUNT = 10


@dataclass(frozen=True)
class Duplicates:
    """Indices of pictures, ascending.

    `exact`: groups of equal pixels. `near`: groups of near-duplicates, exact copies included. `large`: near groups too
    large to be believed; reported, not merged. `conflicts`: pictures of exact groups with more than one class.
    `leaks`: test pictures with the same pixels as a train or val picture.
    """

    exact: Groups
    near: Groups
    large: Groups
    conflicts: tuple[int, ...]
    leaks: tuple[int, ...]


def find_duplicates(
    labels: NDArray[np.int64],
    parts: NDArray[np.str_],
    pixel_hashes: Sequence[bytes],
    thumbnails: NDArray[np.uint8],
    vectors: NDArray[Any],
) -> Duplicates:
    """Duplicates among n pictures: `labels` and `parts` `(n,)`, `thumbnails` uint8 `(n, 32, 32)`, `vectors` `(n, d)`.

    A picture with an empty hash (it could not be opened) is never a duplicate. Memory is bounded: blocks of float32.
    """
    n = len(pixel_hashes)
    by_hash: defaultdict[bytes, list[int]] = defaultdict(list)
    for i, pixels in enumerate(pixel_hashes):
        if pixels:
            by_hash[pixels].append(i)
    exact = tuple(tuple(group) for group in by_hash.values() if len(group) > 1)
    conflicts = [i for group in exact if len({int(labels[j]) for j in group}) > 1 for i in group]
    first = np.array([group[0] for group in by_hash.values()], dtype=np.int64)
    alone = slice(None) if len(first) == n else first  # a slice copies nothing
    near, large = _sorted_out(n, near_groups(thumbnails[alone], np.asarray(vectors)[alone]), first, exact)
    return Duplicates(exact, near, large, tuple(sorted(conflicts)), tuple(sorted(_leaks(exact, parts))))


def merged_groups(n: int, groups: NDArray[np.str_] | None, duplicates: Duplicates) -> NDArray[np.int64]:
    """One group number per picture `(n,)`, from 0: given groups ("" = none), exact and near duplicates together."""
    union = Union(n)
    if groups is not None:
        by_name: defaultdict[str, list[int]] = defaultdict(list)
        for i, name in enumerate(groups.tolist()):
            if name:
                by_name[name].append(i)
        for members in by_name.values():
            union.join_all(members)
    for group in (*duplicates.exact, *duplicates.near):
        union.join_all(group)
    return np.unique(union.roots(), return_inverse=True)[1].astype(np.int64)


def _leaks(exact: Groups, parts: NDArray[np.str_]) -> list[int]:
    leaks = []
    for group in exact:
        in_test = [i for i in group if parts[i] == "test"]
        if in_test and len(in_test) < len(group):
            leaks.extend(in_test)
    return leaks


def _sorted_out(n: int, found: Groups, first: NDArray[np.int64], exact: Groups) -> tuple[Groups, Groups]:
    """Near groups, and those too large, with the exact copies of their members."""
    copies = {group[0]: group for group in exact}
    near: list[tuple[int, ...]] = []
    large: list[tuple[int, ...]] = []
    for members in found:
        group = tuple(sorted(i for k in first[list(members)].tolist() for i in copies.get(k, (k,))))
        (large if len(members) > max(LARGE_COUNT, LARGE_SHARE * n) else near).append(group)
    return tuple(near), tuple(large)
