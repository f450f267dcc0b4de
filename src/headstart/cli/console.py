"""How the command line looks: progress on stderr, one JSON document or text on stdout."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PLAIN_EVERY = 5.0  # seconds between two plain lines of one phase, where there is no terminal


class Console:
    """Progress for people: bars with rate and time left on a terminal, a plain line now and then elsewhere."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._phase, self._total = "", 0
        self._spoke = 0.0
        self._first: tuple[float, int] | None = None  # when something was first done: before it the engine was made

    def __enter__(self) -> Console:
        if sys.stderr.isatty():
            from rich.console import Console as Rich
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Rich(stderr=True),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def start(self, phase: str, total: int | None = None) -> None:
        """Begin a phase."""
        self._phase, self._total = phase, total or 0
        self._spoke, self._first = time.monotonic(), None
        if self._bars is not None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(phase, total=total, rate="")
        else:
            count = f": {total} picture{'s' * (total != 1)}" if total else ""
            typer.echo(f"{phase}{count}", err=True)

    def update(self, done: int) -> None:
        """Show how far the phase is."""
        now = time.monotonic()
        since, before = self._first = self._first or (now, done)
        rate = (done - before) / (now - since) if now > since + 1.0 else 0.0
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, rate=f"{rate:.0f}/s" if rate else "")
        elif rate and now - self._spoke > PLAIN_EVERY:
            self._spoke = now
            left = (self._total - done) / rate
            typer.echo(f"{self._phase}: {done}/{self._total}, {rate:.0f} a second, {left:.0f} s left", err=True)

    def say(self, line: str) -> None:
        """A remark that stays on the screen."""
        if self._bars is not None:
            from rich.markup import escape

            self._bars.console.print(escape(line), highlight=False)
        else:
            typer.echo(line, err=True)


def print_json(document: Any) -> None:
    """Exactly one JSON document on stdout (ASCII, so that any terminal and any file name survive)."""
    typer.echo(json.dumps(document, indent=2, allow_nan=False))


def percent(fraction: float | None) -> str:
    """0.8537 -> '85.4 %'; an unknown value is a dash."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"
