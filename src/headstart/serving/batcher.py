"""Pictures of many requests through the engine together."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.engine.cores import usable_cores
from headstart.engine.engine import Engine

WAIT = 0.002  # seconds that the first picture of a batch waits for others
MOST_THREADS = 8

Pixels = NDArray[np.uint8]
Row = NDArray[np.float32]


class Batcher:
    """Collects squares into batches as large as the engine likes; several batches are under way at a time.

    How many may wait is bounded by `room`, before they are decoded. Belongs to one event loop.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._waiting: asyncio.Queue[tuple[Pixels, asyncio.Future[Row]]] = asyncio.Queue()
        # One thread more than the engine has streams: the next batch is there when one ends.
        self._threads = min(usable_cores(), MOST_THREADS) + 1
        self._pool = ThreadPoolExecutor(self._threads, "headstart-engine")
        self._runners: list[asyncio.Task[None]] = []
        self.ready = False

    async def start(self) -> None:
        """Begin to serve; the engine is compiled meanwhile, `ready` says when. ClassifierError when it does not run."""
        loop = asyncio.get_running_loop()
        engine = await loop.run_in_executor(self._pool, self._warmed)
        self._runners = [loop.create_task(self._serve(max(1, engine.batch))) for _ in range(self._threads)]
        self.ready = True

    async def probabilities(self, pixels: Pixels) -> Row:
        """Calibrated probabilities (K,) of one square."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((pixels, answer))
        return await answer

    async def close(self) -> None:
        """Stop; what is still waiting is cancelled."""
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)
        while not self._waiting.empty():
            self._waiting.get_nowait()[1].cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _warmed(self) -> Engine:
        """The engine, which has answered once: nobody waits for what it prepares at its first picture."""
        engine = self._classifier.engine()
        self._classifier.run(np.zeros((1, engine.side, engine.side, 3), np.uint8))
        return engine

    async def _serve(self, size: int) -> None:
        while True:
            batch = [await self._waiting.get()]
            if self._waiting.qsize() + 1 < size:
                await asyncio.sleep(WAIT)
            while len(batch) < size and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            batch = [(pixels, answer) for pixels, answer in batch if not answer.done()]  # nobody waits for the others
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[Pixels, asyncio.Future[Row]]]) -> None:
        stacked = np.stack([pixels for pixels, _ in batch])
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._pool, self._classifier.run, stacked)
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for row, (_, answer) in zip(rows, batch, strict=True):
            if not answer.done():
                answer.set_result(row)
