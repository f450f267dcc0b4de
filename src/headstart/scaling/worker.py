"""A worker: embeds one chunk after the other and writes its part. Any process that sees the folder can be one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from headstart.embedding.columns import Columns
from headstart.errors import MachineError
from headstart.scaling.chunks import Chunk
from headstart.scaling.embedder import Embedder, EngineEmbedder, embedder_of
from headstart.scaling.ledger import TRIES, Ledger
from headstart.scaling.manifest import Rows
from headstart.scaling.part import Tag, part_path, write_part

Made = tuple[Columns, list[str | None]]


@dataclass(frozen=True)
class Done:
    """A chunk whose part is written: rows with numbers, rows with an error, the part's checksum, seconds it took."""

    chunk_id: str
    ok: int
    bad: int
    sha256: str
    seconds: float


class Worker:
    """Works in the embedded folder `folder` with the usual embedder, `embedder`, or one made by its name.

    The name ("module:function") is what child processes can be given: only then can a chunk be taken apart. The
    engine is made at the first chunk and kept.
    """

    def __init__(self, folder: Path, embedder: Embedder | str | None = None) -> None:
        self._folder = folder
        self._ledger = Ledger(folder)
        self._name = embedder if isinstance(embedder, str) else None
        self._can_part = embedder is None or self._name is not None
        self._embedder = None if isinstance(embedder, str) else embedder

    def prepare(self) -> None:
        """Make the embedder and its engine now: before the first picture a failure is the machine's, not a chunk's."""
        embedder = self._ready()
        if isinstance(embedder, EngineEmbedder):
            embedder.prepare()

    def run(self, chunk_id: str) -> Done:
        """Embed one chunk and write its part; after three crashes (`Ledger.attempts`) with care, picture by picture.

        Raises MachineError: the disk is full, the pictures' disk is gone. Anything else that comes out of here is a
        crash like the death of the process.
        """
        start = time.perf_counter()
        chunk = self._ledger.chunk(chunk_id)
        rows = self._ledger.manifest.rows(chunk.first, chunk.count)
        if self._can_part and self._ledger.attempts(chunk_id) >= TRIES:
            from headstart.scaling.careful import embed_with_care

            made = embed_with_care(self._folder, chunk, self._ledger.spec, self._name)
        else:
            made = self._ready()(rows.uris)
        tag = self._write(part_path(self._folder, chunk.id), chunk, rows, made)
        self._ledger.settled(chunk.id)
        return Done(chunk.id, tag.ok, tag.bad, tag.sha256, time.perf_counter() - start)

    def run_piece(self, chunk_id: str, start: int, stop: int, into: Path) -> None:
        """Embed rows `start` .. `stop - 1` of a chunk into a part file of their own (careful.py puts them together)."""
        chunk = self._ledger.chunk(chunk_id)
        piece = piece_of(chunk, start, stop)
        rows = self._ledger.manifest.rows(piece.first, piece.count)
        self._write(into, piece, rows, self._ready()(rows.uris))

    def _ready(self) -> Embedder:
        if self._embedder is None:
            self._embedder = embedder_of(self._ledger.spec, self._name)
        return self._embedder

    def _write(self, path: Path, chunk: Chunk, rows: Rows, made: Made) -> Tag:
        try:
            return write_part(path, chunk, rows, *made, self._ledger.spec)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MachineError(
                f"{path} cannot be written ({reason}): make room, then run the same command again; "
                "finished parts are kept"
            ) from None


def piece_of(chunk: Chunk, start: int, stop: int) -> Chunk:
    """Rows `start` .. `stop - 1` of a chunk, named as such."""
    return Chunk(chunk.number, chunk.first + start, stop - start, f"{chunk.id}+{start}-{stop}")
