"""Union-find: which things belong together when only pairs are known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Union:
    """n things, each at first alone; `join` puts two together with everything they are joined to."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        """The smallest member of i's group."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Put i's and j's groups together."""
        a, b = self.find(i), self.find(j)
        self._parent[max(a, b)] = min(a, b)

    def join_all(self, members: Iterable[int]) -> None:
        """Put all `members` together."""
        listed = list(members)
        for other in listed[1:]:
            self.join(listed[0], other)

    def roots(self) -> NDArray[np.int64]:
        """One number per thing, equal within a group: its smallest member."""
        return np.array([self.find(i) for i in range(len(self._parent))], dtype=np.int64)

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Groups of at least two, members ascending."""
        roots = self.roots()
        order = np.argsort(roots, kind="stable")
        pieces = np.split(order, np.flatnonzero(np.diff(roots[order])) + 1) if order.size else []
        return tuple(tuple(piece.tolist()) for piece in pieces if piece.size > 1)
