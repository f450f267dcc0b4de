"""Chunks: runs of manifest rows that one worker embeds into one part file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chunk:
    """Rows `first` .. `first + count - 1` of the manifest; `id` names its part and depends on what the rows say."""

    number: int
    first: int
    count: int
    id: str


def chunk_id(number: int, digest: str) -> str:
    """`000017-1a2b3c4d`: the chunk's number and the first 8 hex digits of its rows' sha256."""
    return f"{number:06d}-{digest[:8]}"


def cut(digests: Sequence[str], rows: int, rows_per_chunk: int) -> list[Chunk]:
    """The chunks of `rows` rows whose contents have the given digests."""
    return [
        Chunk(i, i * rows_per_chunk, min(rows_per_chunk, rows - i * rows_per_chunk), chunk_id(i, digest))
        for i, digest in enumerate(digests)
    ]


def rows_digest(columns: Sequence[Sequence[str | None]]) -> str:
    """sha256 (hex) of some rows given as columns of text or None; no two different contents read the same."""
    digest = hashlib.sha256()
    for column in columns:
        lengths = ",".join("-" if text is None else str(len(text)) for text in column)
        digest.update(f"{len(column)} {lengths}\n".encode())
        digest.update("".join(text for text in column if text is not None).encode())
    return digest.hexdigest()
