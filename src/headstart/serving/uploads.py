"""From the body of a request to pictures in memory: multipart or raw, bounded in bytes, count and time. No files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headstart.images.printable import printable
from headstart.serving.options import ServingLimits
from headstart.serving.refused import RefusedError
from headstart.serving.room import Body, Room

MOST_FIELDS = 32  # parts that are no pictures
MOST_HEADER = 16_384  # bytes of a part's header line: a name of 10 KB is odd, not hostile
MOST_HEADERS = 8
MOST_NAME = 255  # characters of a name that are repeated
RAW_TYPES = ("image/", "application/octet-stream")


@dataclass(frozen=True)
class Upload:
    """One picture as it came. `name`: safe to print, None when there was none. `error`: why it is not even opened."""

    name: str | None
    content: bytes
    error: str | None = None


class Incoming(Protocol):
    """What is needed of a request: its headers, and its body in pieces."""

    @property
    def headers(self) -> Any:
        """Names are looked up in lower case."""

    def stream(self) -> AsyncIterator[bytes]:
        """The body."""


async def read_uploads(request: Incoming, room: Room, body: Body, limits: ServingLimits) -> list[Upload]:
    """The pictures in `request`, in order; RefusedError when it is too large, too slow, or holds none.

    `body` keeps count of the bytes until the caller is done with them.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    name = kind.decode("latin-1")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, "encoded", "compressed bodies are not supported: send the pictures as they are")
    room.look()
    body.check(_announced(request))
    if name == "multipart/form-data":
        return await _received(request, body, _Parts(options.get(b"boundary", b""), limits), limits)
    if name.startswith(RAW_TYPES):
        return await _received(request, body, _Raw(limits), limits)
    raise RefusedError(
        415,
        "content_type",
        "send pictures as multipart/form-data, or one picture as the body with a Content-Type such as image/jpeg",
    )


def _announced(request: Incoming) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 16 else 0


class _Sink(Protocol):
    def write(self, data: bytes) -> None: ...
    def close(self) -> list[Upload]: ...


async def _received(request: Incoming, body: Body, sink: _Sink, limits: ServingLimits) -> list[Upload]:
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for piece in request.stream():
                body.add(len(piece))
                sink.write(piece)
    except TimeoutError:
        raise RefusedError(408, "too_slow", f"the body did not arrive within {limits.body_seconds:g} seconds") from None
    uploads = sink.close()
    if not uploads:
        raise RefusedError(400, "no_pictures", "the request holds no picture")
    return uploads


class _Raw:
    """The body is the picture."""

    def __init__(self, limits: ServingLimits) -> None:
        self._limits, self._pieces, self._size = limits, list[bytes](), 0

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limits.picture_bytes:
            raise RefusedError(413, "too_large", _too_large(self._limits))
        self._pieces.append(data)

    def close(self) -> list[Upload]:
        return [Upload(None, b"".join(self._pieces))] if self._size else []


class _Parts:
    """multipart/form-data: every part with a file name, or with the type of a picture, is one."""

    def __init__(self, boundary: bytes, limits: ServingLimits) -> None:
        if not boundary:
            raise _malformed("the boundary is missing")
        self._limits, self._uploads, self._fields = limits, list[Upload](), 0
        self._headers, self._field, self._value = dict[bytes, bytes](), b"", b""
        self._pieces, self._size, self._ended = list[bytes](), 0, False
        self._is_picture, self._name = False, ""
        calls: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(
                boundary,
                calls,  # type: ignore[arg-type]
                max_header_count=MOST_HEADERS,
                max_header_size=MOST_HEADER,
            )
        except FormParserError:
            raise _malformed("the boundary is too long") from None

    def write(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError:
            raise _malformed("the body is not valid multipart/form-data") from None

    def close(self) -> list[Upload]:
        if not self._ended:
            raise _malformed("the body ends too early")
        return self._uploads

    def _begin(self) -> None:
        self._headers, self._pieces, self._size = {}, [], 0

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        kind, _ = parse_options_header(self._headers.get(b"content-type", b""))
        self._is_picture = b"filename" in options or kind.startswith(b"image/")
        self._name = shown_name(options.get(b"filename", b""))
        if not self._is_picture:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise RefusedError(413, "too_many_fields", f"the request has more than {MOST_FIELDS} fields")
        elif len(self._uploads) >= self._limits.pictures:
            raise RefusedError(
                413,
                "too_many_pictures",
                f"the request has more than {self._limits.pictures} pictures: send them in parts",
            )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._is_picture and self._size <= self._limits.picture_bytes:
            self._pieces.append(data[start:end])

    def _on_part_end(self) -> None:
        if not self._is_picture or (not self._size and not self._name):  # a form's file field that was left empty
            return
        if self._size > self._limits.picture_bytes:
            self._uploads.append(Upload(self._name or None, b"", _too_large(self._limits)))
        else:
            self._uploads.append(Upload(self._name or None, b"".join(self._pieces)))
        self._pieces = []

    def _on_end(self) -> None:
        self._ended = True


def shown_name(name: bytes) -> str:
    """A client's file name as text to show: escaped, shortened; it is never used for anything else."""
    text = printable(name.decode("utf-8", "surrogateescape"))
    return text if len(text) <= MOST_NAME else text[: MOST_NAME - 1] + "…"


def _too_large(limits: ServingLimits) -> str:
    return f"file too large (limit {limits.picture_bytes / 1e6:g} MB)"


def _malformed(why: str) -> RefusedError:
    return RefusedError(400, "malformed", f"{why}: send multipart/form-data as curl -F does")
