"""What goes between the server and a decode process: fixed headers and raw bytes, no pickle."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

Kind = Literal["square", "thumbnail"]
KINDS: tuple[Kind, ...] = ("square", "thumbnail")
READY = b"headstart-decoder-1\n"
JOB = struct.Struct("<BQ")  # kind, bytes of the picture
DONE = struct.Struct("<BIIHI")  # 1 = decoded, width, height, bytes of the note, bytes of the result
THUMBNAIL_SIDE = 160
MOST_THUMBNAIL_BYTES = 200_000
MOST_TEXT = 500


@dataclass(frozen=True)
class Done:
    """The header of an answer. `result`: pixels or a JPEG when `decoded`, else the reason as UTF-8."""

    decoded: bool
    width: int
    height: int
    note: int
    result: int


def job(kind: Kind, size: int) -> bytes:
    """The header that goes before a picture of `size` bytes."""
    return JOB.pack(KINDS.index(kind), size)


def done(header: bytes, most: int) -> Done:
    """Read an answer's header; ValueError when it is none: a decoder that was taken over is not believed."""
    decoded, width, height, note, result = DONE.unpack(header)
    if decoded not in (0, 1) or note > MOST_TEXT or result > (most if decoded else MOST_TEXT):
        raise ValueError("not an answer of a decoder")
    return Done(bool(decoded), width, height, note, result)
