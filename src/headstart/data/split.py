"""Folds: stratified, group-safe, seeded. Every picture is judged once per repeat by a head that never saw its group."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALWAYS_TRAINING = -1


@dataclass(frozen=True)
class Split:
    """`folds`: int64 `(repeats, n)`, the fold in which each picture is judged; -1 = always in training, never judged.

    `kind` says how the folds were made. A fold's training side is everything that is not in the fold.
    """

    folds: NDArray[np.int64]
    seed: int
    kind: str

    @property
    def repeats(self) -> int:
        """How often every picture is judged."""
        return int(self.folds.shape[0])

    @property
    def count(self) -> int:
        """Folds per repeat; 0 when nothing can be judged."""
        return int(self.folds.max(initial=-1)) + 1

    def to_json(self) -> dict[str, Any]:
        """What a run stores: enough to judge again on exactly these folds."""
        return {"kind": self.kind, "seed": self.seed, "folds": self.folds.tolist()}


def make_split(
    labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int, folds: int = 5, repeats: int = 1
) -> Split:
    """At most `folds` folds of `labels` `(n,)` that keep each of `groups` `(n,)` together and classes in proportion.

    A class that lives in one group only is never judged (-1): a head trained without it could not know it. Fewer folds
    are made when no class is spread over `folds` groups. `Split.count` is 0 when no class has two groups.
    """
    labels = np.asarray(labels, dtype=np.int64)
    groups = np.asarray(groups, dtype=np.int64)
    if labels.shape != groups.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and groups {groups.shape} must be of one length")
    if folds < 2 or repeats < 1:
        raise ValueError(f"at least 2 folds and 1 repeat are needed, not {folds} and {repeats}")
    table = _Table.of(labels, groups)
    judged = table.judged()
    spread = int(table.groups_per_class.max(initial=0))
    count = max(2, min(folds, spread))
    result = np.full((repeats, labels.size), ALWAYS_TRAINING, dtype=np.int64)
    kinds = _kinds(table, judged)
    for repeat in range(repeats):
        dealer = _Dealer(table, count, np.random.default_rng([seed, repeat]))
        for kind in kinds:
            dealer.deal(kind)
        result[repeat] = dealer.folds[table.group_of]
    how = "stratified" if table.sizes.max(initial=1) == 1 else "stratified, groups kept together"
    return Split(result, seed, how)


@dataclass(frozen=True)
class _Table:
    """Sparse counts: row r says that group `rows[r]` holds `counts[r]` pictures of class `columns[r]`."""

    group_of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    groups_per_class: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.int64], groups: NDArray[np.int64]) -> _Table:
        _, group_of = np.unique(groups, return_inverse=True)
        classes = int(labels.max(initial=-1)) + 1
        pairs, counts = np.unique(group_of * max(classes, 1) + labels, return_counts=True)
        rows, columns = np.divmod(pairs, max(classes, 1))
        return cls(
            group_of.astype(np.int64),
            np.bincount(group_of),
            rows,
            columns,
            counts,
            np.bincount(columns, minlength=classes),
        )

    def judged(self) -> NDArray[np.bool_]:
        """Which groups may be judged: those that hold no class's only group."""
        may = np.ones(self.sizes.size, dtype=bool)
        may[self.rows[self.groups_per_class[self.columns] == 1]] = False
        return may


@dataclass(frozen=True)
class _Kind:
    """Groups that hold the same pictures of the same classes: `members` are exchangeable."""

    columns: NDArray[np.int64]
    counts: NDArray[np.int64]
    members: NDArray[np.int64]


def _kinds(table: _Table, judged: NDArray[np.bool_]) -> list[_Kind]:
    """The judged groups by what they hold, the largest first."""
    bounds = np.searchsorted(table.rows, np.arange(table.sizes.size + 1)).tolist()
    cells = list(zip(table.columns.tolist(), table.counts.tolist(), strict=True))
    found: defaultdict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for group in np.flatnonzero(judged).tolist():
        found[tuple(cells[bounds[group] : bounds[group + 1]])].append(group)
    order = sorted(found, key=lambda held: (-sum(count for _, count in held), held))
    return [
        _Kind(np.array([c for c, _ in held]), np.array([k for _, k in held]), np.array(found[held])) for held in order
    ]


class _Dealer:
    """Deals groups out to folds: pictures per class and fold, and how many groups of a class a fold holds."""

    def __init__(self, table: _Table, folds: int, generator: np.random.Generator) -> None:
        classes = table.groups_per_class.size
        self._table = table
        self._generator = generator
        self._pictures = np.zeros((folds, classes))
        self._groups = np.zeros((folds, classes), dtype=np.int64)
        self._totals = np.zeros(folds)
        self._per_class = np.maximum(np.bincount(table.columns, weights=table.counts, minlength=classes), 1)
        self.folds = np.full(table.sizes.size, ALWAYS_TRAINING, dtype=np.int64)

    def deal(self, kind: _Kind) -> None:
        """Whole rounds give every fold the same number, so that only the rest has to be placed with care."""
        members = self._generator.permutation(kind.members)
        count = self._totals.size
        rounds = members.size // count
        self.folds[members[: rounds * count]] = np.tile(np.arange(count), rounds)
        self._pictures[:, kind.columns] += rounds * kind.counts
        self._groups[:, kind.columns] += rounds
        self._totals += rounds * kind.counts.sum()
        for group in members[rounds * count :].tolist():
            self._place(group, kind)

    def _place(self, group: int, kind: _Kind) -> None:
        """To the fold that gains balance most; never all groups of a class into one fold."""
        columns, counts = kind.columns, kind.counts
        takes_all = self._groups[:, columns] + 1 >= self._table.groups_per_class[columns]
        allowed = ~takes_all.any(axis=1)
        if not allowed.any():
            return  # stays in training
        # The growth of the sum of squares, of each class and of all pictures, relative to how many there are.
        size = counts.sum()
        growth = (counts * (2 * self._pictures[:, columns] + counts) / self._per_class[columns]).sum(axis=1)
        growth += size * (2 * self._totals + size) / self._per_class.sum()
        growth += self._generator.random(growth.size) * 1e-9  # ties fall at random
        fold = int(np.where(allowed, growth, np.inf).argmin())
        self.folds[group] = fold
        self._pictures[fold, columns] += counts
        self._groups[fold, columns] += 1
        self._totals[fold] += size
