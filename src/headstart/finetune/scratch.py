"""Rows of numbers kept in memory, or in a file that nobody has to clean up."""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headstart.cache_folder import TEMPORARY, remove_leftovers

_PIECE = 1 << 24


class Rows(Protocol):
    """`count` arrays of one shape and type; written and read by number, from several threads at once."""

    count: int
    in_file: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""

    def put(self, at: int, row: NDArray[Any]) -> None:
        """Keep `row` as number `at`, in the type of the rows."""

    def take(self, at: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of the rows `at` `(m,)`, one after the other."""


class MemoryRows:
    """Rows in an array. MemoryError when it has no room."""

    in_file = False

    def __init__(self, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.count = count
        self._array = np.zeros((count, *shape), dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self._array.nbytes

    def put(self, at: int, row: NDArray[Any]) -> None:
        """Keep `row` as number `at`."""
        self._array[at] = row

    def take(self, at: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of the rows `at`."""
        return np.take(self._array, at, axis=0)


class FileRows:
    """Rows in a file in `folder`, which disappears with them. OSError when the folder or the disk does not take it.

    Read and written piece by piece, not mapped: the system keeps in memory what it has room for, and the process does
    not grow. The file's space is taken at once: a disk that fills up later would stop a run in its middle.
    """

    in_file = True

    def __init__(self, folder: Path, count: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.count, self._shape, self._dtype = count, shape, np.dtype(dtype)
        self._row_bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._handle = os.open(path, flags, 0o600)
        self._end = weakref.finalize(self, _remove, self._handle, path)
        try:
            _take_space(self._handle, self.nbytes)
        except BaseException:
            self._end()
            raise
        if os.name != "nt":
            path.unlink()  # the open file lives on; even a killed process leaves nothing

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.count * self._row_bytes

    def put(self, at: int, row: NDArray[Any]) -> None:
        """Keep `row` as number `at`."""
        content = np.ascontiguousarray(row, self._dtype).reshape(-1).view(np.uint8).data
        done = 0
        while done < self._row_bytes:
            done += self._write(content[done:], at * self._row_bytes + done)

    def take(self, at: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of the rows `at`."""
        rows = np.empty((len(at), *self._shape), self._dtype)
        flat = rows.reshape(-1).view(np.uint8).data
        for k, number in enumerate(at):
            begin, done = k * self._row_bytes, 0
            while done < self._row_bytes:
                some = self._read(self._row_bytes - done, int(number) * self._row_bytes + done)
                if not some:
                    raise OSError("a file of activations ended early")
                flat[begin + done : begin + done + len(some)] = some
                done += len(some)
        return rows

    def _write(self, content: memoryview, place: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._handle, content, place)
        with self._lock:  # Windows
            os.lseek(self._handle, place, os.SEEK_SET)
            return os.write(self._handle, content)

    def _read(self, size: int, place: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, size, place)
        with self._lock:  # Windows
            os.lseek(self._handle, place, os.SEEK_SET)
            return os.read(self._handle, size)


def _take_space(handle: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        if size:
            os.posix_fallocate(handle, 0, size)
        return
    zeros = bytes(_PIECE)  # macOS, Windows
    while size > 0:
        size -= os.write(handle, zeros[: min(size, _PIECE)])


def _remove(handle: int, path: Path) -> None:
    os.close(handle)
    path.unlink(missing_ok=True)
