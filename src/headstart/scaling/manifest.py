"""The manifest of an embedded folder: `manifest.parquet`, one row group per chunk, read a chunk at a time."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cache_folder import TEMPORARY
from headstart.errors import DataError
from headstart.scaling.chunks import Chunk, cut, rows_digest
from headstart.scaling.extra import scale_package

NAME = "manifest.parquet"
MOST_CLASSES = 100_000
Row = tuple[str, str | None, str | None]  # uri, label, group
_KEY = b"headstart"


@dataclass(frozen=True)
class Rows:
    """Some rows in manifest order; row i has id `first + i`. `uris`: absolute paths or fsspec URIs."""

    first: int
    uris: list[str]
    labels: list[str | None]
    groups: list[str | None]

    def __len__(self) -> int:
        return len(self.uris)

    def cut(self, start: int, stop: int) -> Rows:
        """Rows `start` .. `stop - 1` of these."""
        where = slice(start, stop)
        return Rows(self.first + start, self.uris[where], self.labels[where], self.groups[where])


class Manifest:
    """An open manifest: facts from the footer, rows when asked for. Holds one row group at a time.

    `count` rows; `rows_per_chunk`; `digests` one per chunk; `classes` sorted; `sha256` over the digests.
    """

    def __init__(self, file: Any) -> None:
        facts = json.loads(file.metadata.metadata[_KEY])
        self._file = file
        self.count = int(file.metadata.num_rows)
        self.rows_per_chunk = int(facts["rows_per_chunk"])
        self.digests: list[str] = facts["digests"]
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        self.sha256 = hashlib.sha256("".join(self.digests).encode()).hexdigest()
        if file.metadata.num_row_groups != len(self.digests):
            raise ValueError("row groups do not fit its list of chunks")

    def chunks(self) -> list[Chunk]:
        """All chunks, in order."""
        return cut(self.digests, self.count, self.rows_per_chunk)

    def rows(self, first: int, count: int) -> Rows:
        """Rows `first` .. `first + count - 1`; cheap when they lie in one chunk."""
        parts: list[Rows] = []
        at, end = first, min(first + count, self.count)
        while at < end:
            number = at // self.rows_per_chunk
            start = number * self.rows_per_chunk
            group = self._group(number)
            stop = min(end, start + len(group))
            parts.append(group.cut(at - start, stop - start))
            at = stop
        joined = Rows(first, [], [], [])
        for part in parts:
            joined.uris.extend(part.uris)
            joined.labels.extend(part.labels)
            joined.groups.extend(part.groups)
        return joined

    def _group(self, number: int) -> Rows:
        table = self._file.read_row_group(number, columns=["uri", "label", "group"])
        uris, labels, groups = (table.column(name).to_pylist() for name in ("uri", "label", "group"))
        return Rows(number * self.rows_per_chunk, uris, labels, groups)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def open_manifest(folder: Path) -> Manifest:
    """The manifest of an embedded folder; DataError when it is missing or not readable."""
    return _open(folder / NAME)


def write_manifest(folder: Path, rows: Iterable[Row], rows_per_chunk: int) -> Manifest:
    """Write `folder/manifest.parquet` from rows as they come (see sources.py) and open it: `draft`, then `adopt`.

    Raises DataError without any row.
    """
    return adopt(folder, draft_manifest(folder, rows, rows_per_chunk))


def draft_manifest(folder: Path, rows: Iterable[Row], rows_per_chunk: int) -> Path:
    """A temporary file in `folder` with the manifest of `rows`, never more than a chunk of them in memory."""
    pa, pq = scale_package("pyarrow"), scale_package("pyarrow.parquet")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    digests: list[str] = []
    classes: set[str] = set()
    try:
        with pq.ParquetWriter(
            file, _schema(pa), compression="zstd", use_dictionary=["label", "group"], write_statistics=False
        ) as writer:
            first = 0
            for group in _groups(rows, rows_per_chunk):
                classes.update(label for label in group.labels if label is not None)
                if len(classes) > MOST_CLASSES:
                    raise DataError(f"more than {MOST_CLASSES} different labels: is the label column the right one?")
                ids = range(first, first + len(group))
                columns = [pa.array(ids, pa.int64())]
                columns += [pa.array(texts, pa.string()) for texts in (group.uris, group.labels, group.groups)]
                writer.write_table(pa.Table.from_arrays(columns, schema=_schema(pa)), row_group_size=rows_per_chunk)
                digests.append(rows_digest((group.uris, group.labels, group.groups)))
                first += len(group)
            facts = {"rows_per_chunk": rows_per_chunk, "digests": digests, "classes": sorted(classes)}
            writer.add_key_value_metadata({_KEY.decode(): json.dumps(facts)})
        if not digests:
            raise DataError("no pictures")
        return file
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def adopt(folder: Path, draft: Path) -> Manifest:
    """Make a drafted manifest the folder's own."""
    import os

    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(folder / NAME)
    return open_manifest(folder)


def peek(draft: Path) -> Manifest:
    """A drafted manifest, to look at before it is adopted."""
    return _open(draft)


def _open(file: Path) -> Manifest:
    pa, pq = scale_package("pyarrow"), scale_package("pyarrow.parquet")
    try:
        return Manifest(pq.ParquetFile(file))
    except FileNotFoundError:
        raise DataError(f"{file} is missing: make the folder again with headstart embed DATA") from None
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{file} is not a readable manifest ({reason}): begin again in another folder") from None


def _groups(rows: Iterable[Row], size: int) -> Iterator[Rows]:
    """`rows` in runs of `size`."""
    group = Rows(0, [], [], [])
    for uri, label, kin in rows:
        group.uris.append(uri)
        group.labels.append(label)
        group.groups.append(kin)
        if len(group) == size:
            yield group
            group = Rows(0, [], [], [])
    if len(group):
        yield group


def _schema(pa: Any) -> Any:
    return pa.schema([("id", pa.int64()), ("uri", pa.string()), ("label", pa.string()), ("group", pa.string())])
