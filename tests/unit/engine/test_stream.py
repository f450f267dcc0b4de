"""The stream: order, bounds, bad pictures as data, one engine call per batch. The engine is three lines of numpy."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from headstart.clock import Clock
from headstart.engine.stream import StreamOptions, stream
from headstart.images.load import BadImageError, Picture
from headstart.images.spent import spending


class Averages:
    """Mean value of every picture; remembers the batches it saw."""

    name, device, precision, side, batch = "averages", "cpu", "fp32", 4, 3

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(batch))
        return {"mean": batch.reshape(len(batch), -1).mean(axis=1, dtype=np.float32)[:, None]}

    def stream(self, batches: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, dict[str, np.ndarray]]]:
        for tag, batch in batches:
            yield tag, self.run(batch)


def picture(value: int) -> Picture:
    pixels = np.full((4, 4, 3), value % 256, np.uint8)
    return Picture(pixels, 4, 4, None, bytes(32), np.zeros((32, 32), np.uint8))


def slow_picture(value: int) -> Picture:
    time.sleep(random.Random(value).random() * 0.004)
    return picture(value)


def collect(batches: Iterable[Any]) -> tuple[dict[int, float], dict[int, str], list[int]]:
    values: dict[int, float] = {}
    errors: dict[int, str] = {}
    order: list[int] = []
    for batch in batches:
        order += batch.indices
        errors |= batch.errors
        if batch.indices:
            values |= dict(zip(batch.indices, batch.outputs["mean"][:, 0].tolist(), strict=True))
    return values, errors, order


def test_every_picture_gets_its_own_result_in_order() -> None:
    values, errors, order = collect(stream(range(100), slow_picture, Averages(), StreamOptions(threads=4, batch=7)))
    assert values == {i: float(i) for i in range(100)}
    assert not errors
    assert order == list(range(100))


def test_bad_pictures_are_data() -> None:
    def load(i: int) -> Picture:
        if i % 5 == 0:
            raise BadImageError("truncated", "x.jpg")
        if i == 7:
            raise FileNotFoundError(2, "No such file or directory")
        if i == 8:
            raise MemoryError
        return picture(i)

    values, errors, _ = collect(stream(range(21), load, Averages()))
    assert errors[0] == errors[20] == "truncated"  # the first and, after the last full batch, the last
    assert "No such file" in errors[7] and "memory" in errors[8]
    assert set(values) | set(errors) == set(range(21)) and not set(values) & set(errors)


def test_a_bug_in_loading_is_not_swallowed_and_threads_end() -> None:
    def load(i: int) -> Picture:
        if i == 30:
            raise ZeroDivisionError
        return picture(i)

    with pytest.raises(ZeroDivisionError):
        collect(stream(range(1000), load, Averages()))
    assert not [t for t in threading.enumerate() if t.name.startswith("headstart-decode")]


def test_known_items_need_no_engine() -> None:
    def make() -> Averages:
        raise AssertionError("the engine was made for nothing")

    batches = list(stream(range(10), lambda i: None, make))
    assert [b.indices for b in batches] == [()]
    assert batches[-1].times.wall > 0
    values, _, order = collect(stream(range(10), lambda i: picture(i) if i in (2, 9) else None, Averages()))
    assert values == {2: 2.0, 9: 9.0} and order == [2, 9]


def test_nothing_in_nothing_out() -> None:
    assert list(stream([], picture, Averages())) == []


def test_padding_gives_every_batch_the_same_size_and_only_real_rows_back() -> None:
    engine = Averages()
    values, _, _ = collect(stream(range(10), picture, engine, StreamOptions(batch=4, pad=True)))
    assert engine.sizes == [4, 4, 4]
    assert values == {i: float(i) for i in range(10)}
    engine = Averages()
    collect(stream(range(10), picture, engine))  # no options: the engine's own batch, ragged at the end
    assert engine.sizes == [3, 3, 3, 1]


def test_decoding_runs_ahead_of_a_slow_start_but_never_beyond_its_bounds() -> None:
    loaded: list[int] = []
    consumed = 0
    most_ahead = 0

    def load(i: int) -> Picture:
        loaded.append(i)
        return picture(i)

    def make() -> Averages:
        deadline = time.monotonic() + 5
        while len(loaded) < 50 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert 50 <= len(loaded) <= 51  # the one that asked for the engine was taken out of the queue
        return Averages()

    for batch in stream(range(300), load, make, StreamOptions(queue=20, ahead=50, batch=4, threads=3)):
        time.sleep(0.001)
        consumed += len(batch.indices)
        if consumed > 60:
            most_ahead = max(most_ahead, len(loaded) - consumed)
    assert consumed == 300
    assert most_ahead <= 20 + 2 * 4


def test_leaving_early_stops_decoding() -> None:
    loaded: list[int] = []
    batches = stream(range(10_000), lambda i: loaded.append(i) or slow_picture(i), Averages())
    next(batches)
    batches.close()
    seen = len(loaded)
    time.sleep(0.05)
    assert len(loaded) == seen < 1000


def test_progress_counts_up_to_all_pictures() -> None:
    seen: list[tuple[int, int]] = []
    options = StreamOptions(progress=lambda done, total: seen.append((done, total)))
    collect(stream(range(500), lambda i: None if i < 300 else picture(i), Averages(), options))
    done = [d for d, _ in seen]
    assert done == sorted(done) and done[0] < 300 and seen[-1] == (500, 500)


def test_times_count_decoding_and_the_engine() -> None:
    def load(i: int) -> Picture:
        busy(0.01)
        return picture(i)

    times = list(stream(range(20), load, Averages()))[-1].times
    assert 0.18 <= times.decode <= 0.4
    assert times.wall > 0 and 0 <= times.efficiency <= 1.2


def busy(seconds: float) -> None:
    """Use this thread's core."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def opened(value: int) -> Picture:
    with spending("decode"):
        busy(0.004)
    with spending("resize"):
        busy(0.002)
    busy(0.001)
    return picture(value)


class Works(Averages):
    """Uses the thread that asks it, as torch does."""

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        busy(0.005)
        return super().run(batch)


def test_a_pass_in_a_phase_is_taken_apart() -> None:
    def make() -> Works:
        busy(0.1)
        return Works()

    clock = Clock()
    with clock("embed"):
        for _ in stream(range(60), opened, make, StreamOptions(threads=2, batch=3)):
            busy(0.002)
    found = clock.profile()
    used = {row.part: row.core_seconds for row in found.rows if row.phase == "embed"}
    expected = {"decode": 0.24, "resize": 0.12, "derive": 0.06, "prepare": 0.1, "compute": 0.1, "collect": 0.04}
    for part, least in expected.items():
        assert least <= used[part] <= 1.6 * least + 0.03, (part, used)
    assert sum(row.seconds for row in found.rows) == pytest.approx(found.seconds)
    assert {row.phase for row in found.rows} - {"other"} == {"start", "embed"}
    assert found.parts().get("other", 0.0) < 0.01
    assert found.parts()["cache"] < 0.05, "what is not in the pass"


def test_cores_that_idle_are_a_part_of_the_pass() -> None:
    def waits(value: int) -> Picture:
        time.sleep(0.01)
        return picture(value)

    clock = Clock()
    with clock("embed"):
        collect(stream(range(20), waits, Averages(), StreamOptions(threads=1)))
    found = clock.profile()
    assert 0.2 <= found.parts()["wait"] <= found.seconds


@pytest.mark.parametrize("ending", ["left", "failed"])
def test_a_pass_that_ends_early_is_counted(ending: str) -> None:
    def load(value: int) -> Picture:
        if ending == "failed" and value == 30:
            raise ZeroDivisionError
        return opened(value)

    clock = Clock()
    with clock("embed"):
        batches = stream(range(1000), load, Averages(), StreamOptions(threads=2))
        next(batches)
        if ending == "left":
            batches.close()
        else:
            with pytest.raises(ZeroDivisionError):
                list(batches)
    found = clock.profile()
    assert found.parts()["decode"] > 0
    assert sum(row.seconds for row in found.rows) == pytest.approx(found.seconds)
