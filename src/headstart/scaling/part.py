"""One part: the Parquet file with the columns of one chunk and a checksum, written once, valid or not by itself.

Byte for byte the same whoever wrote it (with the same pyarrow): no time, no host, nothing random in it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache_folder import write_to_cache
from headstart.embedding.columns import Columns, layout
from headstart.scaling.chunks import Chunk
from headstart.scaling.extra import scale_package
from headstart.scaling.manifest import Rows
from headstart.scaling.spec import Spec

FOLDER = "parts"
QUARANTINED = "quarantined: opening it ended the process three times"
_VERSION = "1"
_OWN = ("id", "uri", "label", "error")
_BINARY = ("key", "pixel_hash", "thumbnail")  # bytes, not numbers, to whoever reads the file


class DamagedPartError(Exception):
    """The file is not a whole part of this chunk in this space."""


@dataclass(frozen=True)
class Part:
    """m rows of one chunk; `ids` int64 `(m,)`.

    `errors[i]`: None, or why picture i has no numbers: row i of every column is then 0.
    """

    ids: NDArray[np.int64]
    uris: list[str]
    labels: list[str | None]
    errors: list[str | None]
    columns: Columns
    sha256: str

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Tag:
    """What the footer of a part says: its checksum and how many rows are good, bad, and (of the bad) quarantined."""

    sha256: str
    ok: int
    bad: int
    quarantined: int


def part_path(folder: Path, chunk_id: str) -> Path:
    """Where the part of a chunk lies."""
    return folder / FOLDER / f"part-{chunk_id}.parquet"


def write_part(path: Path, chunk: Chunk, rows: Rows, columns: Columns, errors: Sequence[str | None], spec: Spec) -> Tag:
    """Write one part, whole or not at all; rows with an error become null. Raises OSError (disk full, …).

    `columns` as in embedding/columns.py, `(chunk.count, …)` each, in the order of `rows`.
    """
    pa, pq = scale_package("pyarrow"), scale_package("pyarrow.parquet")
    expected = layout(spec.depth_list())
    bad = np.array([error is not None for error in errors])
    found = {name: (column.dtype, column.shape) for name, column in columns.items()}
    if found != {name: (dtype, (chunk.count, *shape)) for name, (dtype, shape) in expected.items()}:
        raise ValueError(f"columns do not fit chunk {chunk.id} of {spec.backbone}")
    if not len(rows) == len(errors) == chunk.count:
        raise ValueError(f"{len(rows)} rows and {len(errors)} errors for the {chunk.count} rows of chunk {chunk.id}")
    ids = np.arange(chunk.first, chunk.first + chunk.count, dtype=np.int64)
    columns = {name: _blank(columns[name], bad) for name in expected}
    part = Part(ids, rows.uris, rows.labels, list(errors), columns, "")
    tag = _tag(_checksum(part), errors)
    facts = {"version": _VERSION, "chunk": chunk.id, "spec": spec.hash, "sha256": tag.sha256, "ok": tag.ok}
    facts |= {"bad": tag.bad, "quarantined": tag.quarantined}
    texts = [pa.array(values, pa.string()) for values in (part.uris, part.labels, part.errors)]
    arrays = [pa.array(ids), *texts, *(_to_arrow(pa, name, column, bad) for name, column in columns.items())]
    table = pa.Table.from_arrays(arrays, names=[*_OWN, *columns])
    table = table.replace_schema_metadata({"headstart": json.dumps(facts, sort_keys=True)})
    held = io.BytesIO()
    pq.write_table(
        table, held, compression="none", use_dictionary=["label", "error"], write_statistics=False,
        row_group_size=max(1, chunk.count), store_schema=True,
    )  # fmt: skip
    write_to_cache(path, held.getvalue())
    return tag


def read_part(path: Path, names: Iterable[str] | None = None) -> Part:
    """The rows of a part with the columns `names` (None: all); the checksum is checked when all are read.

    Raises DamagedPartError, OSError.
    """
    with _opened(path) as file:
        facts = _facts(file)
        wanted = [n for n in file.schema_arrow.names if n not in _OWN] if names is None else list(names)
        table = file.read([*_OWN, *wanted])
        columns = {name: _from_arrow(name, table.column(name)) for name in wanted}
        ids = np.asarray(table.column("id").to_numpy(), np.int64)
        uris, labels, errors = (table.column(name).to_pylist() for name in ("uri", "label", "error"))
        part = Part(ids, uris, labels, errors, columns, str(facts["sha256"]))
    if names is None and _checksum(part) != part.sha256:
        raise DamagedPartError(f"{path.name}: content differs from its checksum")
    return part


def check_part(path: Path, chunk: Chunk, spec: Spec, full: bool = False) -> Tag:
    """Its tag when `path` is a whole part of `chunk` in the space of `spec`; `full` reads everything.

    Raises DamagedPartError, FileNotFoundError, OSError.
    """
    with _opened(path) as file:
        facts = _facts(file)
        rows = file.metadata.num_rows
    if facts["chunk"] != chunk.id or facts["spec"] != spec.hash:
        raise DamagedPartError(f"{path.name}: of another chunk or another space")
    if rows != chunk.count or facts["ok"] + facts["bad"] != rows:
        raise DamagedPartError(f"{path.name}: {rows} rows, {chunk.count} expected")
    tag = Tag(facts["sha256"], facts["ok"], facts["bad"], facts["quarantined"])
    if full:
        part = read_part(path)
        if not np.array_equal(part.ids, np.arange(chunk.first, chunk.first + chunk.count)):
            raise DamagedPartError(f"{path.name}: other ids than its chunk")
        if _tag(part.sha256, part.errors) != tag:
            raise DamagedPartError(f"{path.name}: other counts than its rows")
    return tag


def _tag(sha256: str, errors: Sequence[str | None]) -> Tag:
    bad = sum(error is not None for error in errors)
    return Tag(sha256, len(errors) - bad, bad, sum(error == QUARANTINED for error in errors))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open Parquet file; whatever is wrong with its content is a DamagedPartError."""
    pa, pq = scale_package("pyarrow"), scale_package("pyarrow.parquet")
    try:
        with path.open("rb") as content, pq.ParquetFile(content) as file:
            yield file
    except OSError as error:
        if error.errno is not None:  # of the disk; Arrow's own say what is wrong with the content
            raise
        raise DamagedPartError(_reason(path, error)) from None
    except (pa.ArrowException, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedPartError(_reason(path, error)) from None


def _reason(path: Path, error: Exception) -> str:
    return f"{path.name}: {' '.join(str(error).split())[:120]}"


def _facts(file: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(file.metadata.metadata[b"headstart"])
    if facts["version"] != _VERSION:
        raise ValueError(f"version {facts['version']}")
    return facts


def _blank(column: NDArray[Any], bad: NDArray[np.bool_]) -> NDArray[Any]:
    column = np.ascontiguousarray(column)
    if bad.any() and column[bad].any():
        column = column.copy()
        column[bad] = 0
    return column


def _to_arrow(pa: Any, name: str, column: NDArray[Any], bad: NDArray[np.bool_]) -> Any:
    n = len(column)
    if name in _BINARY:
        validity = pa.py_buffer(np.packbits(~bad, bitorder="little").tobytes())
        kind = pa.binary(column.nbytes // max(1, n))
        return pa.Array.from_buffers(kind, n, [validity, pa.py_buffer(column.tobytes())], null_count=int(bad.sum()))
    flat = pa.array(column.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, column.shape[1], mask=pa.array(bad))


def _from_arrow(name: str, chunked: Any) -> NDArray[Any]:
    """One row of zeros where there is null."""
    array = chunked.combine_chunks()  # one array: a part has one row group
    n, good = len(array), np.asarray(array.is_valid())
    if name in _BINARY:
        width = array.type.byte_width
        flat = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + n) * width]
        shape: tuple[int, ...] = (n, width) if name != "thumbnail" else (n, 32, 32)
    else:
        width, values = array.type.list_size, array.values  # the values of null rows are there, and mean nothing
        flat = np.frombuffer(values.buffers()[1], values.type.to_pandas_dtype())
        start = values.offset + array.offset * width
        flat = flat[start : start + n * width]
        shape = (n, width)
    return _with_zeros(flat.reshape(shape), good)


def _with_zeros(column: NDArray[Any], good: NDArray[np.bool_]) -> NDArray[Any]:
    if good.all():
        return column
    column = column.copy()
    column[~good] = 0
    return column


def _checksum(part: Part) -> str:
    digest = hashlib.sha256(part.ids.tobytes())
    for texts in (part.uris, part.labels, part.errors):
        digest.update(json.dumps(texts).encode())
    for name in sorted(part.columns):
        column = np.ascontiguousarray(part.columns[name])
        digest.update(f"{name} {column.dtype.str} {column.shape} ".encode())
        digest.update(column.data)
    return digest.hexdigest()
