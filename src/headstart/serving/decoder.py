"""One decode process: pictures come in on stdin, squares or thumbnails go out on stdout.

Started by `decoders`, one picture at a time. It holds no secret, may not write files, and lives as long as its stdin.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from typing import Any, BinaryIO

from headstart.images.open import BadImageError, Limits, open_image
from headstart.images.preprocess import Preprocessing, to_square
from headstart.serving.frames import DONE, JOB, KINDS, MOST_TEXT, READY, THUMBNAIL_SIDE

MEMORY = 4 * 2**30  # address space: the largest picture that is allowed needs about 1.5 GiB


def main(settings: str) -> None:
    """`settings`: JSON of preprocessing, max_bytes, max_pixels, seconds."""
    wanted = json.loads(settings)
    source, sink = _pipes()
    confine()
    decode = Decode(Preprocessing.from_json(wanted["preprocessing"]), Limits(wanted["max_bytes"], wanted["max_pixels"]))
    sink.write(READY)
    sink.flush()
    while len(header := source.read(JOB.size)) == JOB.size:
        kind, size = JOB.unpack(header)
        content = source.read(size)
        if len(content) < size:
            break
        # Should the server be gone while a decoder hangs, the alarm ends this process.
        _alarm(int(wanted["seconds"]) + 5)
        for piece in decode.answer(KINDS[kind], content):
            sink.write(piece)
        sink.flush()
        _alarm(0)


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """stdin, and a copy of stdout that no library which prints can reach."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, sink


def confine() -> None:
    """Give up what decoding does not need: files to write, core dumps, endless memory (where the system can)."""
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes our stdin
    if sys.platform == "win32":
        return
    import resource

    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def _alarm(seconds: int) -> None:
    if sys.platform != "win32":
        signal.alarm(seconds)


class Decode:
    """From the bytes of a file to the bytes of an answer."""

    def __init__(self, preprocessing: Preprocessing, limits: Limits) -> None:
        self.preprocessing, self.limits = preprocessing, limits

    def answer(self, kind: str, content: bytes) -> tuple[bytes, bytes, bytes]:
        """Header, note and result; a picture that cannot be decoded gives its reason, never an exception."""
        try:
            return self._square(content) if kind == "square" else self._thumbnail(content)
        except BadImageError as error:
            return _refusal(error.reason)
        except MemoryError:
            return _refusal("not enough memory to decode it")
        except OSError as error:
            return _refusal(error.strerror or "cannot be decoded")

    def _square(self, content: bytes) -> tuple[bytes, bytes, bytes]:
        opened = open_image(content, self.preprocessing.at_least, self.limits)
        pixels: Any = to_square(opened.plain, self.preprocessing)
        note = (opened.note or "").encode()[:MOST_TEXT]
        return DONE.pack(1, opened.width, opened.height, len(note), pixels.nbytes), note, pixels.tobytes()

    def _thumbnail(self, content: bytes) -> tuple[bytes, bytes, bytes]:
        opened = open_image(content, THUMBNAIL_SIDE, self.limits)
        small = opened.image.copy()
        small.info = {}  # a comment would be written along
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=80)
        result = buffer.getvalue()
        return DONE.pack(1, opened.width, opened.height, 0, len(result)), b"", result


def _refusal(reason: str) -> tuple[bytes, bytes, bytes]:
    text = reason.encode("utf-8", "backslashreplace")[:MOST_TEXT]
    return DONE.pack(0, 0, 0, 0, len(text)), b"", text


if __name__ == "__main__":
    main(sys.argv[1])
