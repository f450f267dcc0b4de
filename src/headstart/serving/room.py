"""Room: how much the server holds at a time. What does not fit is refused at once, nobody waits outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headstart.serving.options import ServingLimits
from headstart.serving.refused import RefusedError, busy


class Room:
    """Pictures and bytes that are under way. Belongs to one event loop, so counting needs no lock."""

    def __init__(self, limits: ServingLimits) -> None:
        self._limits = limits
        self.pictures = 0
        self.bytes = 0

    def look(self) -> None:
        """RefusedError (503) when a further picture would not fit: said before its body is read."""
        if self.pictures >= self._limits.queue:
            raise busy()

    @contextmanager
    def pictures_of(self, count: int) -> Iterator[None]:
        """Room for `count` pictures; RefusedError (503) when there is none. An empty room takes every request."""
        if self.pictures and self.pictures + count > self._limits.queue:
            raise busy()
        self.pictures += count
        try:
            yield
        finally:
            self.pictures -= count

    @contextmanager
    def body(self) -> Iterator[Body]:
        """Room for the body of one request, as it comes in."""
        held = Body(self, self._limits)
        try:
            yield held
        finally:
            self.bytes -= held.size


class Body:
    """Counts the bytes of one body."""

    def __init__(self, room: Room, limits: ServingLimits) -> None:
        self._room, self._limits = room, limits
        self.size = 0

    def check(self, announced: int) -> None:
        """RefusedError when a body of `announced` bytes is too large (413) or does not fit now (503)."""
        if announced > self._limits.request_bytes:
            raise too_large(self._limits)
        if self._room.bytes - self.size + announced > self._limits.held_bytes:
            raise busy()

    def add(self, count: int) -> None:
        """`count` more bytes have come; RefusedError as for `check`."""
        self.size += count
        self._room.bytes += count
        self.check(self.size)


def too_large(limits: ServingLimits) -> RefusedError:
    """The answer to a body that is larger than a request may be."""
    most = limits.request_bytes / 1e6
    return RefusedError(413, "too_large", f"the request has more than {most:g} MB: send fewer pictures at a time")
