"""The bytes of one file, read once: the cache hashes the same bytes that are decoded. Never waits on a pipe."""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import DataError, MachineError
from headstart.images.printable import printable

_RETRIES = 3
_VANISHED = {errno.EIO, getattr(errno, "ESTALE", errno.EIO), errno.ETIMEDOUT}


class BadImageError(DataError):
    """One picture cannot be used; `reason` is short, the message also names the file."""

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(f"{name}: {reason}" if name else reason)
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """What a picture may cost: bytes of the file, pixels (width x height) once decoded."""

    max_bytes: int = 512 * 1024 * 1024
    max_pixels: int = 100_000_000


LIMITS = Limits()


def read_bytes(path: Path, limits: Limits = LIMITS) -> bytes:
    """Content of a regular file of at most `limits.max_bytes`.

    Raises BadImageError (missing, unreadable, too large, a pipe ...), or MachineError when the disk itself is gone.
    """
    for attempt in range(_RETRIES):
        try:
            return _read(path, limits)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise MachineError(f"cannot open {printable(str(path))}: {error.strerror}") from None
            if error.errno not in _VANISHED:
                raise BadImageError(_why_unreadable(error), printable(str(path))) from None
            time.sleep(0.1 * attempt)
        except ValueError:  # a NUL in the name
            raise BadImageError("not a usable file name", printable(str(path))) from None
    _check_folder(path)
    raise BadImageError("read error", printable(str(path)))


def _read(path: Path, limits: Limits) -> bytes:
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise BadImageError(f"not a regular file ({_kind(facts.st_mode)})", printable(str(path)))
    if facts.st_size > limits.max_bytes:
        raise _too_large(facts.st_size, limits, path)
    # O_NONBLOCK: should the file have become a pipe since the check, opening it must not hang.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        content = file.read(facts.st_size + 1) or b""
        if len(content) != facts.st_size:  # it grows, shrinks, or came in pieces
            content += _rest(file, limits.max_bytes + 1 - len(content))
    if len(content) > limits.max_bytes:
        raise _too_large(len(content), limits, path)
    return content


def _rest(file: object, room: int) -> bytes:
    pieces = []
    while room > 0 and (piece := file.read(min(room, 1 << 20))):  # type: ignore[attr-defined]
        pieces.append(piece)
        room -= len(piece)
    return b"".join(pieces)


def _too_large(size: int, limits: Limits, path: Path) -> BadImageError:
    return BadImageError(
        f"file too large ({size / 1e6:.0f} MB, limit {limits.max_bytes / 1e6:.0f} MB)", printable(str(path))
    )


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return word
    return "special"


def _why_unreadable(error: OSError) -> str:
    reasons = {
        errno.ENOENT: "file not found",
        errno.ENOTDIR: "file not found",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ELOOP: "a loop of links",
        errno.ENAMETOOLONG: "file name too long",
    }
    return reasons.get(error.errno or 0, f"cannot be read ({error.strerror or type(error).__name__})")


def _check_folder(path: Path) -> None:
    """One bad sector costs one picture; a folder that cannot be listed any more is a vanished disk."""
    try:
        with os.scandir(path.parent) as entries:
            next(entries, None)
    except OSError as error:
        raise MachineError(
            f"cannot read {printable(str(path.parent))} any more ({error.strerror}): is the disk or network share "
            "still there? Run the same command again, what was computed is kept"
        ) from None
