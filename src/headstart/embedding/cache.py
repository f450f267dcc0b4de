"""The content-addressed cache of embeddings: append-only shards, shared by processes without a lock.

Kill -9 at any moment loses at most the open shard. Two processes may both compute a picture; either row will do.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Depth
from headstart.cache_folder import remove_leftovers
from headstart.embedding.columns import KEY, Columns, layout, put, take
from headstart.embedding.shard import SUFFIX, DamagedShardError, read_keys, read_shard, write_shard

ROWS_PER_SHARD = 256


class EmbeddingCache:
    """The embeddings of one space (weights, preprocessing, precision, graph version) below `folder`.

    `space_key`: everything a vector depends on besides the picture. Opening reads only the keys of the shards.
    `computed_rows` of a damaged shard come back as lost and the file is kept aside as `.bad`.
    """

    def __init__(self, folder: Path, space_key: str, depths: Sequence[Depth]) -> None:
        self._space = hashlib.sha256(space_key.encode()).hexdigest()
        self.folder = folder / "embeddings" / self._space[:32]
        self._layout = layout(depths)
        self._places: dict[bytes, tuple[int, int]] = {}
        self._shards: list[Path] = []
        self.notes: list[str] = []
        with suppress(OSError):
            remove_leftovers(self.folder)
            for path in sorted(self.folder.glob(f"*{SUFFIX}")):
                self._index(path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def fill(self, target: Columns, keys: Sequence[bytes], rows: NDArray[np.integer]) -> NDArray[np.integer]:
        """Copy the cached rows of `keys[i]`, for i in `rows`, into rows i of `target`; return the rows that were lost.

        Every shard is read once and checked. Lost: its shard is damaged, or was removed since the cache was opened.
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        lost = []
        for row in rows.tolist():
            place = self._places.get(keys[row])
            if place is None:
                lost.append(row)
            else:
                wanted.setdefault(place[0], []).append((row, place[1]))
        for number, pairs in sorted(wanted.items()):
            to, where = (list(column) for column in zip(*pairs, strict=True))
            columns = self._read(self._shards[number])
            if columns is None:
                lost += to
            else:
                put(target, to, take(columns, where))
        return np.array(sorted(lost), dtype=np.int64)

    @contextmanager
    def writer(self) -> Iterator[ShardWriter]:
        """Collects rows into shards; what is open is written at the end, also when the end is an exception."""
        writer = ShardWriter(self.folder, self._space, self.notes)
        try:
            yield writer
        finally:
            writer.flush()

    def _read(self, path: Path) -> Columns | None:
        try:
            columns = read_shard(path, self._space)
            found = {name: (column.dtype, column.shape[1:]) for name, column in columns.items()}
            if found != self._layout:
                raise DamagedShardError("other columns")
            with suppress(OSError):
                os.utime(path)  # eviction takes the shards that were not used for longest
            return columns
        except DamagedShardError as error:
            self._set_aside(path, error)
        except OSError:
            pass  # evicted by another process, or unreadable: a miss
        return None

    def _index(self, path: Path) -> None:
        try:
            keys = read_keys(path, self._space)
        except DamagedShardError as error:
            self._set_aside(path, error)
            return
        except OSError:
            return
        number = len(self._shards)
        self._shards.append(path)
        for row, key in enumerate(keys):
            self._places.setdefault(key.tobytes(), (number, row))

    def _set_aside(self, path: Path, error: DamagedShardError) -> None:
        self.notes.append(f"a damaged cache file was set aside and its pictures computed again ({path.name}: {error})")
        with suppress(OSError):
            path.replace(path.with_suffix(".bad"))


class ShardWriter:
    """Gathers rows and writes a shard whenever `ROWS_PER_SHARD` are there.

    The first failure (disk full, no permission) ends the writing: the run goes on without the cache, with one note.
    """

    def __init__(self, folder: Path, space: str, notes: list[str]) -> None:
        self._folder, self._space, self._notes = folder, space, notes
        self._open: list[Columns] = []
        self._rows = 0
        self._failed = False
        self.written = 0

    def add(self, columns: Columns) -> None:
        """Append rows; they are the writer's from now on."""
        if self._failed or not len(columns[KEY]):
            return
        self._open.append(columns)
        self._rows += len(columns[KEY])
        if self._rows >= ROWS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what is open as one shard."""
        if not self._open:
            return
        columns = {name: np.concatenate([part[name] for part in self._open]) for name in self._open[0]}
        self._open, self._rows = [], 0
        try:
            write_shard(self._folder / f"{secrets.token_hex(12)}{SUFFIX}", columns, self._space)
            self.written += len(columns[KEY])
        except OSError as error:
            self._failed = True
            reason = error.strerror or str(error)
            self._notes.append(f"the cache {self._folder} cannot be written ({reason}): going on without it")
