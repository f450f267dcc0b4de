"""Run the command line: in this process (fast), or as a child (for exit codes, imports and signals)."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cli.main import _run


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def headstart(*arguments: object) -> Outcome:
    """One command in this process; its budget counts from here, not from when the tests began."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _run([str(a) for a in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def child(*arguments: object, code: str | None = None, env: dict[str, str] | None = None) -> Outcome:
    """One command (or a piece of Python) as a process of its own; `env` is its whole environment."""
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "headstart"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
        timeout=200,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def one_line(error: Outcome) -> str:
    """The message of a failed command; fails when it is more than one line or a traceback."""
    lines = [line for line in error.err.splitlines() if line.startswith("headstart: ")]
    assert len(lines) == 1, error.err
    assert "Traceback" not in error.err
    return lines[0]


def steady(result: dict[str, Any]) -> dict[str, Any]:
    """result.json without what differs from run to run: times, rates, where it was written."""
    dropped = {"seconds", "engine", "embedding", "call", "config", "environment"}
    kept = {k: v for k, v in result.items() if k not in dropped}
    kept["candidates"] = [_timeless(c) for c in kept["candidates"]]
    kept |= {part: _timeless(kept[part]) for part in ("explain", "inspected")}
    return kept


def _timeless(part: dict[str, Any] | None) -> dict[str, Any] | None:
    return part and {k: v for k, v in part.items() if k != "seconds"}


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
