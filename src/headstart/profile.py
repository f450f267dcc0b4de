"""Where the wall time went: every second belongs to a part of a phase; passes over pictures are shared out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

SCHEMA = 1
START, OTHER, WAIT = "start", "other", "wait"
# What a phase does beside its passes over pictures and the parts that are named inside it; by default its own name.
OWN = {"embed": "cache", "finish": "write", "race": "train", "refit": "train"}


class Seconds(NamedTuple):
    """A moment, or a time, on two clocks: wall (`time.perf_counter`) and processor (`time.process_time`)."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        """The moment of the call."""
        return cls(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Row:
    """`seconds` of wall time in `part` of `phase`, in which the process used `core_seconds` of its cores."""

    phase: str
    part: str
    seconds: float
    core_seconds: float


@dataclass(frozen=True)
class Profile:
    """`rows` add up to `seconds`, the wall time from the start on. `cores`: of the passes, None when there was none."""

    seconds: float
    cores: int | None
    rows: tuple[Row, ...]

    def parts(self) -> dict[str, float]:
        """Wall seconds of every part, over all phases."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[row.part] = found.get(row.part, 0.0) + row.seconds
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for JSON (docs/profile.md)."""
        return {
            "schema": SCHEMA,
            "seconds": self.seconds,
            "cores": self.cores,
            "parts": self.parts(),
            "rows": [asdict(row) for row in self.rows],
        }


class Recorder:
    """Shares out the time of one thread from `began` on. It starts in the part `start`, until the first phase begins.

    Between two phases the part is `other`. One moment is where the last time ends and the next begins, so that nothing
    is lost and nothing counted twice.
    """

    def __init__(self, began: Seconds) -> None:
        self._began = self._since = began
        self._where = (START, START)
        self._spent: dict[tuple[str, str], Seconds] = {}
        self._cores: int | None = None

    @contextmanager
    def inside(self, phase: str | None, part: str) -> Iterator[None]:
        """What follows is `part` of `phase` (None: of the phase that is running); then the one before goes on."""
        self._settle()
        before = self._where if self._where[0] != START else (OTHER, OTHER)
        self._where = (phase or before[0], part)
        token = _RECORDER.set(self)
        try:
            yield
        finally:
            _RECORDER.reset(token)
            self._settle()
            self._where = before

    def share_out(self, wall: float, cores: int, core_seconds: Mapping[str, float]) -> None:
        """A pass over pictures has ended, which took `wall` seconds of the part that is running.

        wall x cores = `core_seconds` of its parts + idle core-seconds, the part `wait`. Divided by the cores these are
        wall seconds, which leave the part that is running.
        """
        self._settle()
        phase, _ = here = self._where
        wall = min(wall, self._spent[here].wall)
        busy = sum(core_seconds.values())
        idle = max(0.0, wall * cores - busy)  # a process can use more than its share, and clocks are not exact
        each = wall / max(busy + idle, 1e-12)
        for part, seconds in core_seconds.items():
            self._add((phase, part), each * seconds, seconds)
        self._add((phase, WAIT), each * idle, 0.0)
        self._add(here, -wall, -busy)
        self._cores = max(cores, self._cores or 0)

    def profile(self) -> Profile:
        """What is known so far."""
        self._settle()
        rows = (Row(*place, spent.wall, max(0.0, spent.cpu)) for place, spent in self._spent.items())
        return Profile(self._since.wall - self._began.wall, self._cores, tuple(row for row in rows if row.seconds > 0))

    def _settle(self) -> None:
        now = Seconds.now()
        self._add(self._where, now.wall - self._since.wall, now.cpu - self._since.cpu)
        self._since = now

    def _add(self, place: tuple[str, str], wall: float, cpu: float) -> None:
        spent = self._spent.get(place, Seconds(0.0, 0.0))
        self._spent[place] = Seconds(spent.wall + wall, spent.cpu + cpu)


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def current() -> Recorder | None:
    """The recorder of the phase that is running in this thread, None outside of phases."""
    return _RECORDER.get()


@contextmanager
def part(name: str) -> Iterator[None]:
    """What follows is the part `name` of the phase that is running; nothing outside of phases."""
    recorder = current()
    if recorder is None:
        yield
        return
    with recorder.inside(None, name):
        yield
