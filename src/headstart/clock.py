"""Where the seconds go: one number per phase, the total counted from the start of the process when there is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_IMPORTED = time.perf_counter()


class Clock:
    """Adds up wall seconds per phase."""

    def __init__(self, from_import: bool = False) -> None:
        self._start = _IMPORTED if from_import else time.perf_counter()
        self._phases: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time one phase; also when it ends by an exception."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._phases[phase] = self._phases.get(phase, 0.0) + time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """Seconds per phase so far, and `total` since the start."""
        return {**self._phases, "total": time.perf_counter() - self._start}
