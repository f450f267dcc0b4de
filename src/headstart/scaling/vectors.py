"""Reading an embedded folder: facts of all rows, blocks of vectors in order or shuffled, everything about a few rows.

No more than a part (or the shuffle's buffer) is in memory at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.embedding.columns import Columns, empty_columns, put, take
from headstart.errors import DataError
from headstart.head.streamed import Block
from headstart.scaling.chunks import Chunk
from headstart.scaling.ledger import Ledger
from headstart.scaling.manifest import NAME as MANIFEST
from headstart.scaling.part import DamagedPartError, Part, part_path, read_part
from headstart.scaling.spec import NAME as SPEC

IntArray = NDArray[np.int64]

ROWS = 8192  # of a block: 34 MB of float16 at 2,064 columns
BUFFER = 512 * 2**20  # bytes of vectors among which rows are shuffled
UNUSED = -1


def is_embedded(data: Path) -> bool:
    """Whether `data` is a folder that `headstart embed` makes."""
    return (data / SPEC).is_file() and (data / MANIFEST).is_file()


@dataclass(frozen=True)
class Facts:
    """What is known of all n rows, small enough for memory (25 bytes a row).

    `labels` int64 `(n,)`, UNUSED where there is none; `bad` bool `(n,)`: no vectors; `pixels` and `groups` uint64
    `(n,)`: 64 bits of their hashes, groups None where nobody gave any.
    """

    labels: IntArray
    bad: NDArray[np.bool_]
    pixels: NDArray[np.uint64]
    groups: NDArray[np.uint64] | None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Few:
    """Everything about some rows, in their order: columns, URIs, errors and groups ("" = none)."""

    rows: IntArray
    columns: Columns
    uris: list[str]
    errors: list[str | None]
    groups: list[str]


@dataclass(frozen=True)
class Vectors:
    """The parts of a finished embedded folder. DataError when it is not finished, or a part is damaged."""

    folder: Path
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ledger", Ledger(self.folder))
        if self.ledger.success() is None:
            raise DataError(
                f"{self.folder} is not finished: headstart embed {self.folder} --out {self.folder} goes on with it"
            )

    @property
    def dims(self) -> tuple[int, ...]:
        """Width of every depth."""
        return tuple(dim for _, dim in self.ledger.spec.depths)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the depths."""
        return tuple(name for name, _ in self.ledger.spec.depths)

    def facts(self, told: Callable[[int], None] | None = None) -> Facts:
        """One pass over the small columns; `told` counts rows."""
        n, spec = self.ledger.spec.rows, self.ledger.spec
        classes = {name: k for k, name in enumerate(spec.classes)}
        labels, bad = np.full(n, UNUSED, np.int64), np.zeros(n, bool)
        pixels, groups = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
        for chunk in self.ledger.chunks:
            part, where = self._part(chunk, ["pixel_hash"]), slice(chunk.first, chunk.first + chunk.count)
            labels[where] = [UNUSED if label is None else classes[label] for label in part.labels]
            bad[where] = [error is not None for error in part.errors]
            pixels[where] = np.ascontiguousarray(part.columns["pixel_hash"][:, :8]).view(np.uint64)[:, 0]
            listed = self.ledger.manifest.rows(chunk.first, chunk.count).groups
            groups[where] = [_key(group) for group in listed]
            if told is not None:
                told(chunk.first + chunk.count)
        return Facts(labels, bad, pixels, groups if groups.any() else None)

    def few(self, rows: IntArray) -> Few:
        """Everything about the given rows (ascending)."""
        spec = self.ledger.spec
        found = Few(rows, empty_columns(len(rows), spec.depth_list()), [], [], [])
        for chunk, inside, at in self._chunks_of(rows):
            part = self._part(chunk, list(found.columns))
            put(found.columns, at, take(part.columns, inside))
            listed = self.ledger.manifest.rows(chunk.first, chunk.count).groups
            for i in inside.tolist():
                found.uris.append(part.uris[i])
                found.errors.append(part.errors[i])
                found.groups.append(listed[i] or "")
        return found

    def reasons(self, rows: IntArray) -> list[tuple[str, str]]:
        """(URI, why it cannot be used) of the given rows (ascending)."""
        found = []
        for chunk, inside, _ in self._chunks_of(rows):
            part = self._part(chunk, [])
            found += [(part.uris[i], part.errors[i] or "") for i in inside.tolist()]
        return found

    def blocks(self, labels: IntArray, folds: IntArray, depths: Sequence[int] | None = None) -> Iterator[Block]:
        """All rows whose fold is not UNUSED, in order; the other depths' matrices are empty `(m, 0)`."""
        held: list[Block] = []
        for chunk in self.ledger.chunks:
            held.append(self._block(chunk, labels, folds, depths))
            if sum(len(block) for block in held) >= ROWS:
                yield _joined(held)
                held = []
        if sum(len(block) for block in held):
            yield _joined(held)

    def shuffled(
        self, labels: IntArray, folds: IntArray, depths: Sequence[int], size: int, rng: np.random.Generator
    ) -> Iterator[Block]:
        """The same rows in batches of `size`, shuffled among as many as BUFFER holds.

        What is held at a time are random parts from all over the folder, evenly: a list sorted by class stays mixed.
        """
        chunks = self.ledger.chunks
        width, used = 2 * sum(self.dims[i] for i in depths), int((folds != UNUSED).sum())
        buffers = max(1, math.ceil(width * used / BUFFER))
        strata = range(0, len(chunks), buffers)
        of = np.concatenate([rng.permutation(buffers) for _ in strata])[: len(chunks)]
        for buffer in rng.permutation(buffers).tolist():
            held = [self._block(chunks[i], labels, folds, depths) for i in np.flatnonzero(of == buffer).tolist()]
            if sum(len(block) for block in held):
                yield from _batches(_joined(held), size, rng)

    def _block(self, chunk: Chunk, labels: IntArray, folds: IntArray, depths: Sequence[int] | None) -> Block:
        wanted = range(len(self.dims)) if depths is None else depths
        part = self._part(chunk, [f"vector.{self.names[i]}" for i in wanted])
        where = slice(chunk.first, chunk.first + chunk.count)
        used = np.flatnonzero(folds[where] != UNUSED)
        whole = len(used) == chunk.count
        none = np.empty((len(used), 0), np.float16)
        found: list[NDArray[Any]] = [none] * len(self.dims)
        for i in wanted:
            column = part.columns[f"vector.{self.names[i]}"]
            found[i] = column if whole else column[used]
        return Block(tuple(found), labels[where][used], folds[where][used], used + chunk.first)

    def _chunks_of(self, rows: IntArray) -> Iterator[tuple[Chunk, IntArray, IntArray]]:
        """Every chunk that holds some of the rows: they counted in the chunk, and where they stand in `rows`."""
        numbers = rows // self.ledger.manifest.rows_per_chunk
        for number in np.unique(numbers).tolist():
            at, chunk = np.flatnonzero(numbers == number), self.ledger.chunks[number]
            yield chunk, rows[at] - chunk.first, at

    def _part(self, chunk: Chunk, names: list[str]) -> Part:
        try:
            return read_part(part_path(self.folder, chunk.id), names)
        except (DamagedPartError, OSError) as error:
            raise DataError(
                f"{self.folder}: a part cannot be read ({error}): headstart embed {self.folder} --out {self.folder} "
                "makes it again"
            ) from None


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    matrices = tuple(np.concatenate(columns) for columns in zip(*(b.matrices for b in blocks), strict=True))
    labels, folds, rows = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("labels", "folds", "rows"))
    return Block(matrices, labels, folds, rows)


def _batches(block: Block, size: int, rng: np.random.Generator) -> Iterator[Block]:
    """Batches of about equal size: a small last one would count as much as the others."""
    count = max(1, round(len(block) / size))
    for chosen in np.array_split(rng.permutation(len(block)), count):
        yield block.take(chosen)


def _key(group: str | None) -> int:
    """64 bits of a group's name, never 0; 0 for none."""
    return 0 if group is None else 1 | int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "little")
