"""Which cuts one pass over the pictures fills: the race asks for several of them, one after the other."""

from __future__ import annotations

PIXELS = 0  # the cut before the first stage
CACHED_TOGETHER = 3  # last-1 to last-3


def cuts_together(cut: int, depths: int) -> list[int]:
    """The cuts to compute when `cut` is asked for, of a network of `depths` depths."""
    last = depths - 1
    together = list(range(last - 1, max(0, last - 1 - CACHED_TOGETHER), -1))
    return together if cut in together else [cut]
