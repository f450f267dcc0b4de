"""Backends: who does the chunks. All write the same part files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from headstart.errors import UsageError
from headstart.scaling.chunks import Chunk
from headstart.scaling.worker import Done

Told = Callable[[Done], None]


class Backend(Protocol):
    """Runs `Worker(folder).run(chunk_id)` for every chunk, in any order, on whatever it has."""

    def work(self, folder: Path, chunks: Sequence[Chunk], told: Told) -> None:
        """Return when every chunk has its part; `told(done)` is called in this thread as each is finished.

        A worker that dies, or raises anything but a HeadstartError, costs its chunk only: `Ledger.crashed(chunk_id,
        why)`, then the chunk again on a new worker. A HeadstartError of a worker (disk full, data gone, no backbone)
        is raised here, as is what `crashed` raises, and KeyboardInterrupt; then no worker is left behind.
        """


def backend_of(on: str) -> Backend:
    """The backend that `--on` names: local, ray, ray://HOST:PORT. UsageError for another word."""
    if on == "local":
        from headstart.scaling.local import LocalBackend

        return LocalBackend()
    if on == "ray" or on.startswith("ray://"):
        from headstart.scaling.ray_backend import RayBackend

        backend: Backend = RayBackend(on)
        return backend
    raise UsageError(f"--on {on!r}: say local, ray, or ray://HOST:PORT")
