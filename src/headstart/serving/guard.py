"""Guard: what every request passes before the application sees it, and what every answer gets on its way out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headstart.images.printable import printable
from headstart.serving.refused import RefusedError, busy, error_document

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
PROTECTED = "/v1/"  # what needs the token, where there is one
LINGER_SECONDS, LINGER_BYTES = 1.0, 32_000_000  # of a body that is still coming when it was refused already
QUIET_PATHS = ("/healthz", "/readyz")

log = logging.getLogger("headstart.serving")


class Guard:
    """Host, Origin and token; security headers; errors without a trace; the access log."""

    def __init__(self, app: Application, hosts: frozenset[str], token: str | None) -> None:
        self._app, self._hosts = app, hosts
        self._token = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        exchange = _Exchange(scope, receive, send)
        try:
            self._check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except RefusedError as error:
            await exchange.answer(error.status, error.document, error.headers)
        except asyncio.CancelledError:  # the process ends and waits for no answer; the web server would print a trace
            await exchange.answer(503, busy().document, busy().headers)
        except Exception as error:
            await exchange.answer(500, unexpected(error))
        finally:
            if scope["path"] not in QUIET_PATHS:
                line = "%s %s %d %.0f ms", scope["method"], _shown(scope["path"]), exchange.status, _ms(began)
                log.info(*line)

    def _check(self, scope: Scope) -> None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1:
            raise RefusedError(400, "host", "one Host header is needed")
        if not _is_allowed(hosts[0], self._hosts):
            raise RefusedError(421, "host", "this server does not answer to that name: see --allow-host")
        if scope["method"] not in ("GET", "HEAD") and not _is_same_origin(scope, hosts[0]):
            raise RefusedError(403, "origin", "requests from other pages are refused")
        if self._token is not None and scope["path"].startswith(PROTECTED):
            given = _values(scope, b"authorization")
            kind, _, token = (given[0] if len(given) == 1 else "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(_digest(token.strip().encode()), self._token):
                raise RefusedError(401, "token", "this server needs a token: send Authorization: Bearer TOKEN")


class _Exchange:
    """One request and its answer: adds headers, and reads on a refused body so that the client learns why."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._path = scope["path"]
        coming = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        self._body_left = coming and _values(scope, b"content-length") != ["0"]
        self.status, self._closing = 0, False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            self._body_left = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._closing = self._body_left
            more = SECURITY | {"cache-control": "no-cache" if _is_page(self._path) else "no-store"}
            headers = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            message = {**message, "headers": [*headers, (b"connection", b"close")] if self._closing else headers}
        elif self._closing and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def answer(self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        """A JSON answer, unless one was begun already."""
        if self.status:
            return
        body = json.dumps(document).encode()
        given = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        start = {"type": "http.response.start", "status": status}
        await self.send(start | {"headers": [(k.encode(), v.encode()) for k, v in given.items()]})
        await self.send({"type": "http.response.body", "body": body})

    async def _linger(self) -> None:
        """A connection that is closed on unread bytes is reset, and the answer with it: read on for a moment."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while self._body_left and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def unexpected(error: Exception) -> dict[str, Any]:
    """The answer to a fault of ours: an id that the log has, too, and nothing else."""
    mark = secrets.token_hex(4)
    log.error("fault %s: %s", mark, printable(f"{type(error).__name__}: {error}")[:300], exc_info=_debug(error))
    return error_document("fault", f"the server made a mistake (see its log, {mark})")


def _debug(error: Exception) -> Exception | None:
    return error if log.isEnabledFor(logging.DEBUG) else None


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    host = host.strip().lower()
    return host in allowed or ("*.ip" in allowed and _is_number(host))


def _is_number(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_origin(scope: Scope, host: str) -> bool:
    """Whether the page that sends this, if a page does, is our own. Programs send neither header."""
    origins = _values(scope, b"origin")
    if origins:
        scheme, _, place = origins[0].partition("://")
        return len(origins) == 1 and scheme in ("http", "https") and place.lower() == host.strip().lower()
    return all(site in ("same-origin", "none") for site in _values(scope, b"sec-fetch-site"))


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _is_page(path: str) -> bool:
    return path == "/" or path.startswith("/page/")


def _shown(path: str) -> str:
    return printable(path)[:120]


def _ms(began: float) -> float:
    return 1000 * (time.monotonic() - began)
