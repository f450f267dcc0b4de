"""A worker in a process of its own: it may die without taking anybody with it. One line of JSON per question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from headstart.errors import MachineError
from headstart.scaling.answers import Answer, checked
from headstart.scaling.worker import Done

_KILLED = "killed by signal"
_STARTS = 3  # that may be killed before it is the machine
_GRACE = 5.0  # seconds a child has to end by itself


class ChildDiedError(Exception):
    """The process is gone; the text says how (signal or its last words)."""


class ChildNotReadyError(Exception):
    """Something killed the process before it had its engine: no picture was the reason."""


class Child:
    """A child process with a `Worker`. Not for use by several threads at once.

    Ask it when it is ready (`started`). It ends when this process ends, however that ends: its input is then closed.
    """

    def __init__(self, folder: Path, embedder: str | None = None) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - nobody reads a pipe before the end
        # -P: a file named torch.py in the user's current folder must not be imported.
        command = [
            sys.executable,
            "-P",
            "-m",
            "headstart.scaling.child_main",
            str(folder),
            *([embedder] if embedder else []),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        self.pid = self._process.pid
        self._ended = False

    def run(self, chunk_id: str) -> Done:
        """Do one chunk. Raises ChildDiedError, and what the worker raised when that was a HeadstartError."""
        return Done(**self._ask({"chunk": chunk_id}))

    def piece(self, chunk_id: str, start: int, stop: int, into: Path) -> None:
        """Do some rows of a chunk into a file of their own; raises as `run` does."""
        self._ask({"chunk": chunk_id, "start": start, "stop": stop, "into": str(into)})

    def end(self, at_once: bool = False) -> None:
        """End the process and wait until it is gone. Safe to call from another thread, and twice."""
        self._ended = True
        if at_once:
            self._process.kill()
        elif self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(OSError):  # it is dead already, with our question unread
                self._process.stdin.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not at_once and self._process.stdout is not None:
            self._process.stdout.close()
            self._said.close()

    def _ask(self, question: dict[str, Any]) -> Answer:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ChildDiedError("no pipes")
        try:
            stdin.write(json.dumps(question).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except (OSError, ValueError) as error:
            raise ChildDiedError(self._how(str(error))) from None
        if not line.endswith(b"\n"):
            raise ChildDiedError(self._how("no answer"))
        return checked(json.loads(line))

    def wait_ready(self) -> None:
        """Wait until the worker has its engine. Raises ChildNotReadyError, MachineError; ChildDiedError after `end`."""
        stdout = self._process.stdout
        if stdout is None:
            raise ChildDiedError("no pipes")
        try:
            line = stdout.readline()
        except (OSError, ValueError) as error:  # ended by another thread
            raise ChildDiedError(str(error)) from None
        if not line.endswith(b"\n"):
            how = self._how("no answer")
            if self._ended:
                raise ChildDiedError(how)
            if how.startswith(_KILLED):
                raise ChildNotReadyError(how)
            raise MachineError(f"a worker process cannot start ({how})")
        checked(json.loads(line))

    def _how(self, what: str) -> str:
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return what
        if code < 0:
            return f"{_KILLED} {-code}"
        self._said.seek(0)
        last = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return f"exit code {code}{': ' + last[-1] if last else ''}"


def started(folder: Path, embedder: str | None, keep: Callable[[Child], None]) -> Child:
    """A child that has its engine; `keep` is given every process before it is waited for.

    One that something kills while it starts (the system, short of memory) is tried again; MachineError the third time.
    """
    for _ in range(_STARTS):
        child = Child(folder, embedder)
        keep(child)
        try:
            child.wait_ready()
            return child
        except ChildNotReadyError as error:
            child.end()
            how = str(error)
        except BaseException:  # also when another thread ended it: its pipes are still open
            child.end()
            raise
    raise MachineError(f"a worker process cannot start ({how}, {_STARTS} times): is there enough memory?")
