"""One shard: a safetensors file with the columns of some hundred pictures and a checksum, written once, never changed.

Read with plain reads, never mapped: a truncated or vanishing file under a map kills the process (SIGBUS).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.cache_folder import write_to_cache
from headstart.embedding.columns import KEY, Columns

SUFFIX = ".safetensors"
_VERSION = "1"
_LARGEST_HEADER = 1_000_000
_TYPES = {"U8": np.uint8, "I16": np.int16, "I32": np.int32, "F16": np.float16}


class DamagedShardError(Exception):
    """The file is not a whole shard of this space."""


def write_shard(path: Path, columns: Columns, space: str) -> None:
    """Write `columns` to `path`, whole or not at all. Raises OSError."""
    from safetensors.numpy import save

    columns = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    metadata = {"headstart": _VERSION, "space": space, "sha256": _checksum(columns), "keys": _digest(columns[KEY])}
    write_to_cache(path, save(columns, metadata))


def read_keys(path: Path, space: str) -> NDArray[np.uint8]:
    """The keys of a shard, uint8 `(rows, 32)`, without reading the rest. Raises DamagedShardError, OSError."""
    with path.open("rb", buffering=0) as file:
        header, start, size = _header(file, space)
        if path.stat().st_size != start + size:
            raise DamagedShardError("truncated")
        first, last = header[KEY]["data_offsets"]
        file.seek(start + first)
        keys = _column(header[KEY], file.read(last - first))
    if _digest(keys) != header["__metadata__"].get("keys"):
        raise DamagedShardError("keys differ from their checksum")
    return keys


def read_shard(path: Path, space: str) -> Columns:
    """All columns of a shard, its checksum checked. Raises DamagedShardError, OSError."""
    with path.open("rb", buffering=0) as file:
        header, _, size = _header(file, space)
        payload = memoryview(file.read(size))
    if len(payload) != size:
        raise DamagedShardError("truncated")
    metadata = header.pop("__metadata__")
    columns = {name: _column(facts, payload[slice(*facts["data_offsets"])]) for name, facts in header.items()}
    if _checksum(columns) != metadata.get("sha256"):
        raise DamagedShardError("content differs from its checksum")
    return columns


def _header(file: Any, space: str) -> tuple[dict[str, Any], int, int]:
    """Header, where the payload starts, how long it should be."""
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= _LARGEST_HEADER:
        raise DamagedShardError("no header")
    try:
        header: dict[str, Any] = json.loads(file.read(length))
        metadata = header["__metadata__"]
        if (metadata["headstart"], metadata["space"]) != (_VERSION, space):
            raise DamagedShardError("of another space")
        end = max(facts["data_offsets"][1] for name, facts in header.items() if name != "__metadata__")
        header[KEY]["data_offsets"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DamagedShardError(f"unreadable header ({error})") from None
    return header, 8 + length, end


def _column(facts: dict[str, Any], content: bytes | memoryview) -> NDArray[Any]:
    try:
        return np.frombuffer(content, _TYPES[facts["dtype"]]).reshape(facts["shape"])
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedShardError(f"shape does not fit ({error})") from None


def _checksum(columns: Columns) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(f"{name} {columns[name].dtype.str} {columns[name].shape} ".encode())
        digest.update(columns[name].data)
    return digest.hexdigest()


def _digest(column: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(column).data).hexdigest()
