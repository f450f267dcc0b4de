"""A chunk that ended its worker three times: taken apart in child processes until the picture is found."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from headstart.embedding.columns import Columns, empty_columns, put
from headstart.errors import MachineError
from headstart.scaling.child import Child, ChildDiedError, started
from headstart.scaling.chunks import Chunk
from headstart.scaling.ledger import ATTEMPTS, TRIES
from headstart.scaling.part import QUARANTINED, read_part
from headstart.scaling.spec import Spec

_MOST = 8  # quarantined pictures of a chunk that raise no doubt


def embed_with_care(folder: Path, chunk: Chunk, spec: Spec, embedder: str | None) -> tuple[Columns, list[str | None]]:
    """Columns and errors of a chunk; pictures that end a process three times alone are quarantined.

    log2(rows) children die for one such picture, and three more for the picture itself. Raises HeadstartError as
    `Worker.run` does.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".tmp-{chunk.id}-", dir=_made(folder / ATTEMPTS)))
    columns = empty_columns(chunk.count, spec.depth_list())
    errors: list[str | None] = [None] * chunk.count
    waiting, deaths = [(0, chunk.count)], 0
    child: Child | None = None
    try:
        while waiting:
            start, stop = waiting.pop()
            into = scratch / f"{start}.parquet"
            try:
                child = child or started(folder, embedder, lambda _: None)
                child.piece(chunk.id, start, stop, into)
            except ChildDiedError:
                if child is not None:
                    child.end()
                child = None
                if stop - start > 1:
                    middle = (start + stop) // 2
                    waiting += [(middle, stop), (start, middle)]
                elif (deaths := deaths + 1) < TRIES:
                    waiting.append((start, stop))
                else:
                    errors[start], deaths = QUARANTINED, 0
                    _check_share(chunk, errors)
                continue
            deaths = 0
            piece = read_part(into)
            put(columns, np.arange(start, stop), piece.columns)
            errors[start:stop] = piece.errors
            into.unlink()
        return columns, errors
    finally:
        if child is not None:
            child.end()
        shutil.rmtree(scratch, ignore_errors=True)


def _check_share(chunk: Chunk, errors: list[str | None]) -> None:
    """When most pictures of a chunk seem to end their process, it is not the pictures."""
    if errors.count(QUARANTINED) > max(_MOST, chunk.count // 2):
        raise MachineError(
            f"chunk {chunk.id}: half of its pictures seem to end the process: is there enough memory, is the machine "
            "well? Run the same command again, finished parts are kept"
        )


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
