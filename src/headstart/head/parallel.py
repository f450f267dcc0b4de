"""Folds side by side: one thread per fold and one BLAS thread in each.

BLAS threads inside small products wait for each other: on a machine whose cores are also used by others, 187 pictures
took 144 s with two BLAS threads and under a second with one. Folds need no waiting, and their elementwise parts run
in parallel too. Very small ones run one after the other: they would mostly wait for the interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

TINY = 500_000  # cells below which two threads were slower than one: 150 x 2,064 took 2.4 s, 1.8 s in turn
SMALL = 12_000_000  # matrix cells of one fold below which two folds at once fit into memory (96 MB each in float64)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def calm(cells: int = 0) -> Iterator[None]:
    """One BLAS thread for small matrices, as many as there are for large ones.

    Without `cells` one, for many products that are each soon done: 1,000 draws of a bootstrap of 100,000 rows took
    1.2 s beside another training, and with two threads 2.3 once and 175 another time (by hand).
    """
    if cells > SMALL:
        yield
        return
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, user_api="blas"):
        yield


def each(work: Callable[[T], object], items: Sequence[T], cells: int) -> None:
    """Call `work` on every item; `cells` = size of the matrix that one item copies. Exceptions are passed on."""
    with calm(cells):
        if cells > SMALL or cells < TINY or len(items) == 1 or cores() == 1:
            for item in items:
                work(item)
            return
        with ThreadPoolExecutor(min(cores(), len(items))) as pool:
            for _ in pool.map(work, items):
                pass
