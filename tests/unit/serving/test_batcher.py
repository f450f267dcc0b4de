from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from headstart.errors import ClassifierError
from headstart.serving.batcher import Batcher
from headstart.serving.options import ServingLimits
from headstart.serving.refused import RefusedError
from headstart.serving.room import Room


class Numbers:
    """Instead of a classifier: the probability of a square is its first pixel; batches of four."""

    batch, side = 4, 1

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()

    def engine(self) -> Any:
        return self

    def run(self, pixels: np.ndarray) -> np.ndarray:
        self.open.wait(5)
        self.sizes.append(len(pixels))
        if (pixels == 255).any():
            raise ClassifierError("does not run")
        return pixels[:, :1].astype(np.float32)


def run(work: Any) -> Numbers:
    numbers = Numbers()

    async def main() -> None:
        batcher = Batcher(numbers)  # type: ignore[arg-type]
        assert not batcher.ready
        await batcher.start()
        try:
            await work(batcher, numbers)
        finally:
            numbers.open.set()
            await batcher.close()

    asyncio.run(main())
    return numbers


def test_everyone_gets_the_own_answer_in_shared_batches() -> None:
    async def work(batcher: Batcher, _: Numbers) -> None:
        rows = await asyncio.gather(*(batcher.probabilities(np.array([k, 0], np.uint8)) for k in range(200)))
        assert [int(row[0]) for row in rows] == list(range(200))

    numbers = run(work)
    assert max(numbers.sizes) == 4
    assert len(numbers.sizes) < 80


def test_it_is_ready_once_it_has_answered() -> None:
    async def work(batcher: Batcher, numbers: Numbers) -> None:
        assert batcher.ready
        assert numbers.sizes == [1]

    run(work)


def test_those_who_left_are_not_computed() -> None:
    async def work(batcher: Batcher, numbers: Numbers) -> None:
        numbers.open.clear()
        tasks = [asyncio.ensure_future(batcher.probabilities(np.array([k], np.uint8))) for k in range(100)]
        await asyncio.sleep(0.1)
        for task in tasks[:99]:
            task.cancel()
        numbers.open.set()
        assert int((await tasks[99])[0]) == 99

    assert sum(run(work).sizes) < 50


def test_an_engine_that_fails_fails_its_batch_only() -> None:
    async def work(batcher: Batcher, _: Numbers) -> None:
        with pytest.raises(ClassifierError):
            await batcher.probabilities(np.array([255], np.uint8))
        assert int((await batcher.probabilities(np.array([7], np.uint8)))[0]) == 7

    run(work)


def test_room_counts_and_gives_back() -> None:
    room = Room(ServingLimits(queue=4, held_bytes=100, request_bytes=80))
    with room.pictures_of(10):  # larger than the queue: only when nothing else is there
        with pytest.raises(RefusedError, match="busy"), room.pictures_of(1):
            pass
        with pytest.raises(RefusedError, match="busy"):
            room.look()
    assert room.pictures == 0
    with room.pictures_of(3), room.pictures_of(1), pytest.raises(RefusedError), room.pictures_of(1):
        pass
    with room.body() as one, room.body() as other:
        one.add(70)
        with pytest.raises(RefusedError) as busy:
            other.add(40)
        assert busy.value.status == 503
        with pytest.raises(RefusedError) as large:
            one.add(20)
        assert large.value.status == 413
    assert room.bytes == 0
