"""What `serve` can be told, and what it allows: light, imports no web framework."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import sys
from dataclasses import dataclass, field

from headstart.errors import MachineError, UsageError
from headstart.images.printable import printable

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
SHORTEST_TOKEN = 16  # characters, where other machines can try them


@dataclass(frozen=True)
class ServingLimits:
    """Bounds of the server, bytes, pictures and seconds. What goes beyond is refused, never waited for."""

    picture_bytes: int = 20_000_000
    picture_pixels: int = 100_000_000
    request_bytes: int = 100_000_000
    pictures: int = 64
    """Pictures in one request."""

    explained: int = 8
    """Pictures in one request with `explain=1`."""

    queue: int = 128
    """Pictures that are being decoded, classified or waiting; a request beyond gets 503 with Retry-After."""

    held_bytes: int = 400_000_000
    """Bodies of all requests together."""

    connections: int = 256
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    decode_seconds: float = 15.0
    answer_seconds: float = 30.0
    request_seconds: float = 90.0
    """From the last header to the last byte of the answer: also for a client that does not read it."""

    keep_alive_seconds: int = 15
    drain_seconds: int = 10


@dataclass(frozen=True)
class ServeOptions:
    """Where to listen and whom to answer. `port` 0: a free one. `token`: what every API request must carry.

    `allow_hosts`: further names in the Host header, with or without a port. `decoder`: the command of a decode process
    (None: headstart's own).
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allow_hosts: tuple[str, ...] = ()
    limits: ServingLimits = field(default_factory=ServingLimits)
    decoder: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port}: give a number from 0 to 65535")
        if self.token is not None and not (self.token and self.token.isascii() and self.token.isprintable()):
            raise UsageError("--token: give a text of printable ASCII characters")


@dataclass(frozen=True)
class Address:
    """Where the server listens."""

    host: str
    port: int
    loopback: bool

    @property
    def url(self) -> str:
        """What to type into a browser on this computer."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


def listen(options: ServeOptions) -> tuple[socket.socket, Address]:
    """A bound socket, before any other work.

    UsageError when other machines could reach it and there is no token; MachineError when the port is taken or the
    host is not an address of this machine.
    """
    family, place = _resolve(options)
    loopback = ipaddress.ip_address(place[0].partition("%")[0]).is_loopback
    if not loopback:
        _check_token(options)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise MachineError(
            f"cannot listen on port {options.port} of {printable(options.host)} ({error.strerror or error}): "
            "stop what uses it, or let --port 0 find a free port"
        ) from None
    return listener, Address(str(place[0]), int(listener.getsockname()[1]), loopback)


def _resolve(options: ServeOptions) -> tuple[socket.AddressFamily, tuple[str, int]]:
    name = "127.0.0.1" if options.host.lower() == "localhost" else options.host
    try:  # most hosts are numbers: nobody is asked what they mean
        version = ipaddress.ip_address(name.partition("%")[0]).version
        if "%" not in name:
            return (socket.AF_INET if version == 4 else socket.AF_INET6), (name, options.port)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise MachineError(
            f"--host {printable(options.host)} is not an address of this computer: leave it out for 127.0.0.1"
        ) from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, place = found[0]
    return family, (str(place[0]), int(place[1]))


def _check_token(options: ServeOptions) -> None:
    if options.token is None:
        raise UsageError(
            f"--host {printable(options.host)} can be reached from other machines: add a token that they must send, "
            f"such as --token {secrets.token_urlsafe(24)}"
        )
    if len(options.token) < SHORTEST_TOKEN:
        raise UsageError(f"--token: give at least {SHORTEST_TOKEN} characters, other machines can try short ones")


def allowed_hosts(options: ServeOptions, address: Address) -> frozenset[str]:
    """Values of the Host header that are answered, lower case; `*.ip` stands for any number address.

    Behind a wildcard address the number by which it is reached is not known. A number is safe: what DNS rebinding
    needs is a name.
    """
    names = set(LOOPBACK_NAMES)
    if not address.loopback:
        names.add(f"[{address.host}]" if ":" in address.host else address.host)
        names.add(options.host.lower())
    allowed = {f"{name}:{address.port}" for name in names}
    for name in (name.strip().lower() for name in options.allow_hosts):
        allowed |= {name} if _has_port(name) else {name, f"{name}:{address.port}"}
    if ipaddress.ip_address(address.host.partition("%")[0]).is_unspecified:
        allowed.add("*.ip")
    if address.port == 80:
        allowed |= names
    return frozenset(allowed)


def _has_port(name: str) -> bool:
    return name.rpartition("]")[2].count(":") == 1
