"""Where the seconds go: one number per phase, the total counted from the start of the command when there is one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headstart.heap import give_back
from headstart.profile import OWN, Profile, Recorder, Seconds

_IMPORTED = Seconds.now()
_LONGEST_START = 60.0  # seconds from the start of a process to the import; more is not believed


class Clock:
    """Adds up wall seconds per phase. `began`: when the work began that is timed, by default now."""

    def __init__(self, began: Seconds | None = None) -> None:
        began = began or Seconds.now()
        self._start = began.wall
        self._phases: dict[str, float] = {}
        self._recorder = Recorder(began)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time one phase, at whose end freed memory goes back to the system; also when it ends by an exception."""
        start = time.perf_counter()
        try:
            with self._recorder.inside(phase, OWN.get(phase, phase)):
                try:
                    yield
                finally:
                    give_back()
        finally:
            self._phases[phase] = self._phases.get(phase, 0.0) + time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """Seconds per phase so far, and `total` since the start."""
        return {**self._phases, "total": time.perf_counter() - self._start}

    def profile(self) -> Profile:
        """Where all seconds since the start went, passes over pictures taken apart."""
        return self._recorder.profile()


def process_start(stat: Path = Path("/proc/self/stat")) -> Seconds:
    """When this process began: as the kernel says (Linux, to 10 ms), else when headstart was imported."""
    try:
        # Behind the name of the program, which may hold anything: the 22nd field, in ticks since the machine started.
        ticks = int(stat.read_bytes().rpartition(b")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return _IMPORTED
    began = time.perf_counter() - age
    return Seconds(began, 0.0) if 0.0 <= _IMPORTED.wall - began <= _LONGEST_START else _IMPORTED
