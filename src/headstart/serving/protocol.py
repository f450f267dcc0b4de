"""uvicorn's HTTP protocol with the time limits it lacks: headers that trickle in, clients that do not read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from headstart.serving.guard import SECURITY
from headstart.serving.options import ServingLimits
from headstart.serving.refused import busy, error_document

MOST_HEADER_BYTES = 16_384


class Connection(H11Protocol):
    """One connection. A clock runs whenever we wait for the client: for headers, then for the whole exchange."""

    def __init__(self, limits: ServingLimits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers; one connection too many is told so and closed."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            _write(transport, 503, busy().document, (("retry-after", "1"),))
            transport.close()
            return
        self._set(self._limits.header_seconds)

    def data_received(self, data: bytes) -> None:
        """Take what came; once the headers are whole, the clock of the exchange runs."""
        if self.transport.is_closing():
            return
        if self._clock is None:  # the first bytes of a further request
            self._set(self._limits.header_seconds)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._set(self._limits.request_seconds)

    def on_response_complete(self) -> None:
        """Between two requests uvicorn's keep-alive clock runs."""
        self._stop()
        before = self.cycle
        super().on_response_complete()
        if self.cycle is not before:  # the next one had come already
            self._set(self._limits.request_seconds)

    def send_400_response(self, msg: str) -> None:
        """Our words instead of uvicorn's."""
        self._stop()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            _write(self.transport, 400, error_document("malformed", "this is not valid HTTP"))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        self._stop()
        super().connection_lost(exc)

    def _set(self, seconds: float) -> None:
        self._stop()
        self._clock = self.loop.call_later(seconds, self._expired)

    def _stop(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _expired(self) -> None:
        self._clock = None
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        seconds = f"{self._limits.header_seconds:g} seconds"
        _write(self.transport, 408, error_document("too_slow", f"the request did not arrive within {seconds}"))
        self.transport.close()


def _write(transport: Any, status: int, document: dict[str, Any], more: tuple[tuple[str, str], ...] = ()) -> None:
    """An answer outside of any exchange: to what is no request yet."""
    body = json.dumps(document).encode()
    connection = h11.Connection(h11.SERVER)
    headers = [*SECURITY.items(), *more, ("content-type", "application/json"), ("content-length", str(len(body)))]
    event = h11.Response(status_code=status, headers=[*headers, ("connection", "close")])
    transport.write((connection.send(event) or b"") + body)
