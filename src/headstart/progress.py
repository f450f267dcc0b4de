"""What a long piece of work says while it runs. The work knows this protocol; how it looks is the caller's business."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives phases, counts and remarks. Called from the working thread; must be cheap."""

    def start(self, phase: str, total: int | None = None) -> None:
        """A phase begins; `total` is the number of pictures (or steps) it will take, when known."""

    def update(self, done: int) -> None:
        """`done` of `total` are finished."""

    def say(self, line: str) -> None:
        """One line the user should read even when no progress is shown."""


class Silent:
    """The default of the Python API: says nothing."""

    def start(self, phase: str, total: int | None = None) -> None:
        """Ignore."""

    def update(self, done: int) -> None:
        """Ignore."""

    def say(self, line: str) -> None:
        """Ignore."""
