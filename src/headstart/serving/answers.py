"""From uploaded pictures to the rows of an answer: decode, classify, and explain when asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.classifier.prediction import rank
from headstart.images.load import BadImageError, Limits
from headstart.serving.batcher import Batcher, Row
from headstart.serving.decoders import Decoders, Square
from headstart.serving.model import Model
from headstart.serving.options import ServeOptions
from headstart.serving.refused import RefusedError, busy
from headstart.serving.room import Room
from headstart.serving.uploads import Upload


@dataclass(frozen=True)
class Asked:
    """What a request wants to know: how many classes, below which probability to say unsure (None: not at all)."""

    top: int = 3
    unsure: float | None = None
    explain: bool = False


class Answers:
    """The machinery behind the API: decode processes, batches, explanations. Belongs to one event loop."""

    def __init__(self, model: Model, options: ServeOptions) -> None:
        self.model, self.limits = model, options.limits
        self.room = Room(options.limits)
        self._decoders = Decoders(model.classifier.preprocessing, options.limits, options.decoder)
        self._batcher = Batcher(model.classifier)
        self._looking = ThreadPoolExecutor(1, "headstart-explain")

    @property
    def ready(self) -> bool:
        """Whether a picture would be answered now."""
        return self._decoders.ready and self._batcher.ready

    async def start(self) -> None:
        """Start the processes and compile the network; MachineError or ClassifierError when that fails."""
        await asyncio.gather(self._decoders.start(), self._batcher.start())

    async def close(self) -> None:
        """End everything that was started."""
        await self._batcher.close()
        await self._decoders.close()
        self._looking.shutdown(wait=False, cancel_futures=True)

    async def rows(self, uploads: Sequence[Upload], asked: Asked) -> list[dict[str, Any]]:
        """One row per picture, in order. RefusedError (503) when the server is full or it takes too long."""
        if asked.explain and len(uploads) > self.limits.explained:
            most = self.limits.explained
            raise RefusedError(413, "too_many_pictures", f"explain=1 is for at most {most} pictures: send fewer")
        with self.room.pictures_of(len(uploads)):
            try:
                async with asyncio.timeout(self.limits.answer_seconds):
                    found = await asyncio.gather(*(self._classified(upload) for upload in uploads))
                    rows = [_row(upload, result, self, asked) for upload, result in zip(uploads, found, strict=True)]
                    if asked.explain:
                        await self._explain(rows, found)
            except TimeoutError:
                raise busy() from None
        return rows

    async def thumbnail(self, row: int) -> bytes | None:
        """Training picture `row` as a small JPEG; None when it is not there any more."""
        with self.room.pictures_of(1):
            loop, limits = asyncio.get_running_loop(), Limits(self.limits.picture_bytes, self.limits.picture_pixels)
            content = await loop.run_in_executor(None, self.model.looks.training_picture, row, limits)
            if content is None:
                return None
            try:
                async with asyncio.timeout(self.limits.answer_seconds):
                    return await self._decoders.thumbnail(content)
            except BadImageError:
                return None
            except TimeoutError:
                raise busy() from None

    async def _classified(self, upload: Upload) -> tuple[Square, Row] | str:
        """The square and its probabilities, or why there are none."""
        if upload.error is not None:
            return upload.error
        if not upload.content:
            return "empty file"
        try:
            square = await self._decoders.square(upload.content)
        except BadImageError as error:
            return error.reason
        return square, await self._batcher.probabilities(square.pixels)

    async def _explain(self, rows: list[dict[str, Any]], found: Sequence[tuple[Square, Row] | str]) -> None:
        good = [(row, result) for row, result in zip(rows, found, strict=True) if not isinstance(result, str)]
        squares = [square for _, (square, _) in good]
        classes = np.array([int(values.argmax()) for _, (_, values) in good], np.int64)
        looks = await asyncio.get_running_loop().run_in_executor(self._looking, self.model.looks.at, squares, classes)
        for (row, _), look in zip(good, looks, strict=True):
            row |= {"heat": look.heat, "nearest": look.nearest}


def _row(upload: Upload, result: tuple[Square, Row] | str, answers: Answers, asked: Asked) -> dict[str, Any]:
    row: dict[str, Any] = {"name": upload.name, "class": None, "probability": None, "top": [], "error": None}
    if isinstance(result, str):
        return row | {"error": result}
    ranked = rank(result[1], answers.model.classifier.classes, asked.top)
    label, probability = ranked[0]
    row |= {"class": label, "probability": probability, "top": [list(pair) for pair in ranked]}
    return row if asked.unsure is None else row | {"unsure": probability < asked.unsure}


def status_of(rows: Sequence[dict[str, Any]]) -> int:
    """200 when at least one picture could be read, else 413 when all were too large, else 422."""
    if any(row["error"] is None for row in rows):
        return 200
    return 413 if all(str(row["error"]).startswith("file too large") for row in rows) else 422
