"""Series: pictures that may have been taken together, guessed from their names, as folds beside the shuffled ones.

Frames, one panel's cells, one specimen: where names follow the camera, folds by blocks of names show what a picture
from a new series would get. Where names were shuffled the blocks mean nothing, and neither will the difference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BLOCKS = 5
_FEWEST = 4 * BLOCKS  # pictures; below this a block says nothing
_ORDERED = 0.8  # share of names that must be text with a number, or the order of the names is nobody's order
# Total variation between a class's spread over the blocks and an even one, mean over pictures: elpv 0.22 (its modules
# differ in how many cells are broken), two classes one after the other 0.4, ten classes 0.8.
_MOST_UNEVEN = 0.33

How = Literal["file order", "name prefix"]
_DIGITS = re.compile(r"(\d+)")
_PREFIX = re.compile(r"^(.*[^\W_].*?)[\W_]+[^\W_]*?\d+$")
_HASH = re.compile(r"^[0-9a-fA-F-]{16,}$")


@dataclass(frozen=True)
class Series:
    """`groups`: int64 `(n,)`, the block of every picture; `how`: what the blocks were made from."""

    groups: NDArray[np.int64]
    how: How


def find_series(names: Sequence[str], labels: NDArray[np.int64]) -> Series | None:
    """Blocks from `names` (relative paths; folders are ignored), or None when the names say nothing.

    Prefixes shared by several pictures (panel12_cell3.jpg) come first; otherwise five blocks of the natural order of
    all names, or of each class where global blocks would take a whole class out of training.
    """
    labels = np.asarray(labels, dtype=np.int64)
    if len(names) < _FEWEST:
        return None
    stems = [_stem(name) for name in names]
    groups = _by_prefix(stems, labels)
    if groups is not None:
        return Series(groups, "name prefix")
    groups = _by_order(stems, names, labels)
    return None if groups is None else Series(groups, "file order")


def _stem(name: str) -> str:
    file = name.rpartition("/")[2]
    stem, dot, _ = file.rpartition(".")
    return stem if dot else file


def natural(stem: str) -> tuple[tuple[str, int], ...]:
    """Sort key that takes digits as numbers: cell2 before cell10."""
    pieces = _DIGITS.split(stem)
    return tuple(
        (text.casefold(), int(number[:18] or -1)) for text, number in zip(pieces[::2], [*pieces[1::2], ""], strict=True)
    )


def _by_prefix(stems: list[str], labels: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The text before the last number, when it clearly names series: several prefixes, most with several pictures."""
    prefixes = [match.group(1) if (match := _PREFIX.match(stem)) else "" for stem in stems]
    kinds, groups, counts = np.unique(np.array(prefixes), return_inverse=True, return_counts=True)
    named = kinds != ""
    if counts[named].sum() < 0.9 * len(stems) or named.sum() < 2 * BLOCKS:
        return None
    if counts[named & (counts > 1)].sum() < 0.8 * len(stems) or counts.max() > len(stems) / BLOCKS:
        return None
    # Prefixes that each hold one class only are names of things (apple_1, pear_3), not of series, unless there are
    # several prefixes per class.
    per_class = np.array([np.unique(groups[labels == k]).size for k in np.unique(labels)])
    if np.median(per_class) < BLOCKS:
        return None
    return groups.astype(np.int64)


def _by_order(stems: list[str], names: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if not _is_ordered(stems):
        return None
    keys = [(natural(stem), name) for stem, name in zip(stems, names, strict=True)]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    groups = np.empty(len(stems), dtype=np.int64)
    groups[order] = _blocks(len(stems))
    if _follows_class(groups, labels):
        for k in np.unique(labels):
            own = order[labels[order] == k]
            groups[own] = _blocks(own.size)
    # A class with one picture stays in training by itself; it must not keep its whole block there.
    alone = np.flatnonzero(np.bincount(labels)[labels] == 1)
    groups[alone] = BLOCKS + np.arange(alone.size)
    return groups


def _blocks(n: int) -> NDArray[np.int64]:
    return np.arange(n, dtype=np.int64) * BLOCKS // max(n, 1)


def _follows_class(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> bool:
    """Whether blocks hold classes rather than times: a block has all of a class, or most classes lie unevenly."""
    table = np.zeros((BLOCKS, int(labels.max()) + 1))
    np.add.at(table, (groups, labels), 1)
    totals = table.sum(axis=0)
    shares = table / np.maximum(totals, 1)
    uneven = float((np.abs(shares - 1 / BLOCKS).sum(axis=0) / 2 * totals).sum() / totals.sum())
    return bool((shares[:, totals > 1] == 1).any()) or uneven > _MOST_UNEVEN


def _is_ordered(stems: list[str]) -> bool:
    """Most names end in a number after one of few texts, and the numbers are those of a counter or a clock."""
    if sum(bool(_HASH.match(stem)) for stem in stems) > 0.2 * len(stems):
        return False
    split = [re.match(r"^(.*?)(\d+)\D{0,4}$", stem, re.DOTALL) for stem in stems]
    texts = [match.group(1) for match in split if match]
    if len(texts) < _ORDERED * len(stems):
        return False
    # Random names hold digits too, but hardly two share the text before them.
    return len(set(texts)) <= max(1, len(texts) // 4)
