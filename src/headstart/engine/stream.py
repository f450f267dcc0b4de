"""Pictures through decode threads and an engine at once, in order, with flat memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from headstart import profile
from headstart.engine.cores import usable_cores
from headstart.engine.engine import Engine, Outputs, Pixels
from headstart.images.load import BadImageError, Picture
from headstart.images.spent import Spent, spent

T = TypeVar("T")


@dataclass(frozen=True)
class StreamOptions:
    """`batch` pictures per engine call (None: what the engine likes); `threads` decode (None: one per core).

    At most `queue` pictures (of some 150 KB) wait for a running engine, `ahead` for one that is still being made.
    `pad` fills the last batch up to `batch`, so that every picture sees the same arithmetic whatever its neighbours.
    `progress(done, total)` is called in the consumer's thread.
    """

    batch: int | None = None
    queue: int = 32
    ahead: int = 128
    threads: int | None = None
    pad: bool = False
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class StreamTimes:
    """Core-seconds of decoding and of the engine, wall seconds, seconds the engine waited for pictures; so far.

    `engine` is what the process used beyond decoding and the consumer's own thread.
    """

    decode: float = 0.0
    engine: float = 0.0
    wall: float = 0.0
    wait: float = 0.0
    cores: int = 1

    @property
    def efficiency(self) -> float:
        """(decode + engine) / (cores x wall): 1 means that no core ever idled."""
        return (self.decode + self.engine) / max(self.cores * self.wall, 1e-9)


@dataclass(frozen=True)
class StreamBatch:
    """Picture `indices[j]` is `pictures[j]` (pixels dropped) and row j of every output; bad ones are in `errors`."""

    indices: tuple[int, ...]
    pictures: tuple[Picture, ...]
    outputs: Outputs
    errors: dict[int, str]
    times: StreamTimes


def stream(
    items: Sequence[T],
    load: Callable[[T], Picture | None],
    engine: Engine | Callable[[], Engine],
    options: StreamOptions = StreamOptions(),
) -> Iterator[StreamBatch]:
    """Decode `items` with `load` in threads beside `engine`; batches come in the order of `items`.

    `load` returns None when an item needs no engine (already known): it then appears nowhere. BadImageError, OSError
    and MemoryError become `errors[index] = reason`. A callable `engine` is called once, when the first batch is ready,
    while decoding goes on. The last batch may hold errors only; `times` of the last batch are those of the whole.
    """
    clock, meter = _Clock(), _Meter(options.progress, len(items))
    recorder = profile.current()
    pool = ThreadPoolExecutor(options.threads or usable_cores(), "headstart-decode")
    try:
        window = _Window(max(options.ahead, options.queue))
        ready = _Ready(engine, options, window, clock)
        batches = _batches(_decode_ahead(pool, items, load, window, clock), ready, meter)
        tail: list[_Batch] = []
        first = next(batches, None)
        if first is not None and first.pixels:
            fed = clock.during("collect", _feed(chain([first], batches), ready.padded(), tail))
            for batch, outputs in clock.during("compute", ready.engine().stream(fed)):
                meter.at(batch.end)
                yield batch.finish(outputs, clock.times())
        elif first is not None:
            tail.append(first)
        for batch in tail:
            yield batch.finish({}, clock.times())
        meter.at(len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if recorder is not None:
            times = clock.times()
            recorder.share_out(times.wall, times.cores, clock.core_seconds())


class _Clock:
    """Counts the core-seconds of the decode threads; the consumer's thread is the one that makes the clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wall, self._cpu, self._own = time.perf_counter(), time.process_time(), time.thread_time()
        self._decode = 0.0
        self._told_apart = Spent(0.0, 0.0)
        self.wait = 0.0
        # Of the consumer's thread, which works for one of them at a time; other threads work for an engine being made.
        self._mine = {"collect": 0.0, "compute": 0.0, "prepare": 0.0}
        self._working, self._since = "collect", self._own
        self._prepared = 0.0

    def add(self, seconds: float, before: Spent, after: Spent) -> None:
        """A picture was loaded in `seconds`; what its thread had spent before and after."""
        with self._lock:
            self._decode += seconds
            decode, resize = self._told_apart
            self._told_apart = Spent(decode + after.decode - before.decode, resize + after.resize - before.resize)

    def times(self) -> StreamTimes:
        wall = time.perf_counter() - self._wall
        return StreamTimes(self._decode, max(0.0, self._beside()), wall, self.wait, usable_cores())

    def core_seconds(self) -> dict[str, float]:
        """All that was used so far. `derive`: what the decode threads made of pictures beside the square."""
        self._work(self._working)
        decode, resize = self._told_apart
        beside = max(0.0, self._beside() - self._prepared)
        return {
            "decode": decode,
            "resize": resize,
            "derive": max(0.0, self._decode - decode - resize),
            "prepare": self._mine["prepare"] + self._prepared,
            "compute": self._mine["compute"] + beside,
            "collect": self._mine["collect"],
        }

    def during(self, part: str, items: Iterable[T]) -> Iterator[T]:
        """`items`; what this thread does to get each of them is `part`."""
        coming = iter(items)
        while True:
            before = self._work(part)
            try:
                item = next(coming, _END)
            finally:
                self._work(before)
            if item is _END:
                return
            yield item

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """The engine is being made: what this thread uses, and what others use beside the decode threads."""
        before, beside = self._work("prepare"), self._beside()
        try:
            yield
        finally:
            self._prepared += max(0.0, self._beside() - beside)
            self._work(before)

    def _work(self, part: str) -> str:
        """From now on this thread works for `part`; what it worked for before."""
        now, before = time.thread_time(), self._working
        self._mine[before] += now - self._since
        self._working, self._since = part, now
        return before

    def _beside(self) -> float:
        """What the process used beyond the decode threads and this one."""
        own = time.thread_time() - self._own
        return time.process_time() - self._cpu - own - self._decode


class _Meter:
    """Reports progress, never backwards."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self._report, self._total, self._done = report, total, 0

    def at(self, done: int) -> None:
        if self._report is not None and done > self._done:
            self._done = done
            self._report(done, self._total)


@dataclass
class _Window:
    """How many items may be decoded or waiting at a time."""

    size: int


class _Ready:
    """The engine, made when the first decoded picture asks for the batch size; until then decoding runs ahead."""

    def __init__(
        self, engine: Engine | Callable[[], Engine], options: StreamOptions, window: _Window, clock: _Clock
    ) -> None:
        self._engine, self._options, self._window, self._clock = engine, options, window, clock

    def engine(self) -> Engine:
        if callable(self._engine):
            with self._clock.preparing():
                self._engine = self._engine()
        threads = self._options.threads or usable_cores()
        self._window.size = max(self._options.queue, 2 * self._size(self._engine), 2 * threads)
        return self._engine

    def size(self) -> int:
        return self._size(self.engine())

    def padded(self) -> int:
        return self.size() if self._options.pad else 0

    def _size(self, engine: Engine) -> int:
        return self._options.batch or engine.batch


@dataclass
class _Batch:
    """A batch being filled; `end` is the number of items that came before its end."""

    indices: list[int] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    end: int = 0

    def finish(self, outputs: Outputs, times: StreamTimes) -> StreamBatch:
        n = len(self.indices)
        cut = {name: rows[:n] for name, rows in outputs.items()}
        return StreamBatch(tuple(self.indices), tuple(self.pictures), cut, self.errors, times)


def _decode_ahead(
    pool: ThreadPoolExecutor, items: Sequence[T], load: Callable[[T], Picture | None], window: _Window, clock: _Clock
) -> Iterator[tuple[int, Picture | str | None]]:
    """Decoded items in order, a window of them ahead of the consumer; a str is the reason of a bad one."""

    def task(item: T) -> Picture | str | None:
        start, before = time.thread_time(), spent()
        try:
            return load(item)
        except BadImageError as error:
            return error.reason
        except MemoryError:
            return "not enough memory to decode it"
        except OSError as error:
            return error.strerror or str(error)
        finally:
            clock.add(time.thread_time() - start, before, spent())

    waiting: deque[Future[Picture | str | None]] = deque()
    coming = iter(items)
    for index in range(len(items)):
        while len(waiting) < window.size and (item := next(coming, _END)) is not _END:
            waiting.append(pool.submit(task, item))
        start = time.perf_counter()
        done = waiting.popleft().result()
        clock.wait += time.perf_counter() - start
        yield index, done


_END: Any = object()
_NO_PIXELS: Pixels = np.empty((0, 0, 3), np.uint8)


def _batches(decoded: Iterator[tuple[int, Picture | str | None]], ready: _Ready, meter: _Meter) -> Iterator[_Batch]:
    batch = _Batch()
    for index, done in decoded:
        if isinstance(done, str):
            batch.errors[index] = done
        elif done is not None:
            batch.indices.append(index)
            batch.pixels.append(done.pixels)
            batch.pictures.append(replace(done, pixels=_NO_PIXELS))
        elif index % 64 == 0:
            meter.at(index + 1 - len(batch.indices))
        batch.end = index + 1
        if batch.indices and len(batch.indices) == ready.size():
            yield batch
            batch = _Batch(end=index + 1)
    if batch.indices or batch.errors or batch.end:
        yield batch  # at the very end also one without pictures: it carries the last errors and the times


def _feed(batches: Iterable[_Batch], size: int, tail: list[_Batch]) -> Iterator[tuple[_Batch, Pixels]]:
    """Batches with their pixels in one array, filled up to `size` with black; one without pictures goes to `tail`."""
    for batch in batches:
        if not batch.pixels:
            tail.append(batch)
            continue
        rows = max(size, len(batch.pixels))
        pixels = np.zeros((rows, *batch.pixels[0].shape), np.uint8)
        np.stack(batch.pixels, out=pixels[: len(batch.pixels)])
        batch.pixels = []
        yield batch, pixels
