"""The work of one `embed` call: passes of the stream that fill the columns and the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.embedding.cache import ShardWriter
from headstart.embedding.columns import Columns, batch_columns, put, take, usable_rows
from headstart.embedding.engines import fastest_engine
from headstart.embedding.squares import squares_of
from headstart.engine.engine import Engine, EngineFacts
from headstart.engine.stream import StreamBatch, StreamOptions, StreamTimes, stream
from headstart.images.load import Picture, load_image
from headstart.images.open import Source, read_bytes

_AT_A_TIME = 32  # the engine's batches are small: bookkeeping for several at once takes a third of the time
Progress = Callable[[int, int], None] | None


class Work:
    """State of one `embed` call over n sources; everything in it is in their order."""

    def __init__(self, sources: Sequence[Source], backbone: Backbone, columns: Columns, device: str) -> None:
        n = len(sources)
        self.columns = columns
        self.keys = [b""] * n
        self.errors: list[str | None] = [None] * n
        self.cached = np.zeros(n, dtype=bool)
        self.squares = squares_of(n, backbone.preprocessing.side)
        self.not_finite: list[int] = []
        self.computed = 0
        self.times = StreamTimes()
        self.engine_facts: EngineFacts | None = None
        self._sources, self._backbone, self._device = sources, backbone, device
        self._engine: Engine | None = None

    def run(
        self,
        rows: NDArray[np.integer],
        is_known: Callable[[bytes], bool],
        writer: ShardWriter | None,
        progress: Progress = None,
        batch: int | None = None,
    ) -> None:
        """Read `rows` and compute those whose key is not known.

        Every batch has the same size, so that a picture's numbers do not depend on what else had to be computed.
        Rows with NaN or infinity are left zero, in `not_finite`.
        """
        options = StreamOptions(batch=batch, pad=True, progress=progress)
        self.not_finite = []
        times = StreamTimes()
        wanted: list[int] = rows.tolist()
        held: list[StreamBatch] = []
        for done in stream(wanted, partial(self._load, is_known), self._ready_engine, options):
            times = done.times
            for j, reason in done.errors.items():
                self.errors[wanted[j]] = reason
            if done.indices:
                held.append(done)
            if sum(len(batch.indices) for batch in held) >= _AT_A_TIME:
                self._keep(held, wanted, writer)
                held = []
        if held:
            self._keep(held, wanted, writer)
        self.times = _sum(self.times, times)

    def _keep(self, batches: list[StreamBatch], wanted: list[int], writer: ShardWriter | None) -> None:
        where = np.array([wanted[j] for batch in batches for j in batch.indices])
        columns = batch_columns(batches, [self.keys[row] for row in where], self._backbone.depths)
        good = usable_rows(columns)
        if not good.all():
            self.not_finite += where[~good].tolist()
            where, columns = where[good], take(columns, good)
        put(self.columns, where, columns)
        self.computed += len(where)
        if writer is not None:
            writer.add(columns)

    def _load(self, is_known: Callable[[bytes], bool], row: int) -> Picture | None:
        """In a decode thread: read once, hash, and decode the same bytes unless they are known."""
        source = self._sources[row]
        source = source if isinstance(source, (bytes, np.ndarray)) else read_bytes(source)
        self.keys[row] = key = content_key(source)
        if is_known(key):
            self.cached[row] = True
            return None
        picture = load_image(source, self._backbone.preprocessing)
        self.squares.keep(row, picture)
        return picture

    def _ready_engine(self) -> Engine:
        if self._engine is None:
            self._engine, self.engine_facts = fastest_engine(self._backbone, self._device)
        return self._engine


def content_key(source: bytes | NDArray[Any]) -> bytes:
    """By what the cache knows a picture, 32 bytes: a hash of the file's bytes, or of an array's kind and numbers."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).digest()
    head = f"array {source.dtype.str} {source.shape} ".encode()
    return hashlib.sha256(head + source.tobytes()).digest()


def _sum(a: StreamTimes, b: StreamTimes) -> StreamTimes:
    return StreamTimes(a.decode + b.decode, a.engine + b.engine, a.wall + b.wall, a.wait + b.wait, b.cores)
