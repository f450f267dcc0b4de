"""Large arrays in memory, or in files that nobody has to clean up."""

from __future__ import annotations

import math
import os
import secrets
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headstart.cache_folder import TEMPORARY, remove_leftovers

_PIECE = 1 << 24


def disk_array(folder: Path, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """A zeroed array in a file in `folder`, which disappears with the array.

    The file's space is taken at once: a disk that fills up later would kill the process at some write. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            _take_space(file.fileno(), math.prod(shape) * np.dtype(dtype).itemsize)
        array = np.memmap(path, dtype, "r+", shape=shape)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    try:
        path.unlink()  # the mapping lives on; even a killed process leaves nothing
    except OSError:  # Windows: not while it is mapped
        weakref.finalize(array._mmap, _remove, path)  # type: ignore[attr-defined]
    return np.asarray(array)


def _take_space(handle: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
        return
    zeros = bytes(_PIECE)  # macOS, Windows
    while size > 0:
        size -= os.write(handle, zeros[: min(size, _PIECE)])


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:  # still mapped: the next run removes it
        return
