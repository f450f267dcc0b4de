"""Decode processes: one picture at a time each, a crash or a hang costs that one picture."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.engine.cores import usable_cores
from headstart.errors import MachineError
from headstart.images.load import BadImageError
from headstart.images.preprocess import Preprocessing
from headstart.serving import frames
from headstart.serving.options import ServingLimits

START_SECONDS = 30.0  # a process that says nothing for so long after its start is broken
MOST_FAILED_STARTS = 5  # when none has ever started; later it is tried for ever
LONGEST_PAUSE = 5.0  # seconds between two tries
MOST_WORKERS = 8
_BUFFER = 2**20
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclass(frozen=True)
class Square:
    """`pixels`: uint8 (side, side, 3). `width`, `height`: of the upright original. `note`: what had to be decided."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    note: str | None


class Decoders:
    """Processes that turn the bytes of pictures into squares, one per core.

    `command`: how to start one; headstart's own when None. Belongs to one event loop.
    """

    def __init__(
        self, preprocessing: Preprocessing, limits: ServingLimits, command: tuple[str, ...] | None = None
    ) -> None:
        self._side, self._seconds = preprocessing.side, limits.decode_seconds
        settings = {
            "preprocessing": preprocessing.to_json(),
            "max_bytes": limits.picture_bytes,
            "max_pixels": limits.picture_pixels,
            "seconds": limits.decode_seconds,
        }
        own = (sys.executable, "-P", "-m", "headstart.serving.decoder")
        self._command = (*(command or own), json.dumps(settings))
        # One more than cores: while one waits for the server to take its picture, another decodes.
        self._size = min(usable_cores(), MOST_WORKERS) + 1
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._alive: set[_Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._failed_starts = 0
        self._closing = False
        self._news = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether there is a process that can decode."""
        return bool(self._alive)

    async def start(self) -> None:
        """Start every process; returns when the first is ready. MachineError when none can be started."""
        for _ in range(self._size):
            self._start_one()
        while not self._alive:
            if self._failed_starts >= MOST_FAILED_STARTS:
                raise MachineError("the processes that decode pictures do not start: reinstall headstart")
            self._news.clear()
            await self._news.wait()

    async def square(self, content: bytes) -> Square:
        """The picture in `content` as the classifier sees it; BadImageError with a short reason."""
        most = self._side * self._side * 3
        header, note, result = await self._ask("square", content, most)
        if len(result) != most:
            raise BadImageError("the decoder gave no picture")
        pixels = np.frombuffer(result, np.uint8).reshape(self._side, self._side, 3)
        return Square(pixels, header.width, header.height, note or None)

    async def thumbnail(self, content: bytes) -> bytes:
        """The picture in `content` as a small JPEG; BadImageError with a short reason."""
        return (await self._ask("thumbnail", content, frames.MOST_THUMBNAIL_BYTES))[2]

    async def close(self) -> None:
        """End every process; also those that requests give up meanwhile."""
        self._closing = True
        while self._starting or self._ending or self._alive:
            for task in self._starting:
                task.cancel()
            ending = [worker.end() for worker in self._alive]
            self._alive.clear()
            await asyncio.gather(*self._starting, *self._ending, *ending, return_exceptions=True)

    async def _ask(self, kind: frames.Kind, content: bytes, most: int) -> tuple[frames.Done, str, bytes]:
        worker = await self._idle.get()
        sound = False
        try:
            async with asyncio.timeout(self._seconds):
                header, note, result = await worker.ask(kind, content, most)
            sound = True
        except TimeoutError:
            raise BadImageError(f"decoding it took more than {self._seconds:g} seconds") from None
        except (EOFError, OSError, ValueError):
            raise BadImageError("the decoder crashed on it") from None
        finally:
            if sound:
                self._idle.put_nowait(worker)
            else:  # also when the request was cancelled: its answer would be taken for that of the next
                self._replace(worker)
        if not header.decoded:
            raise BadImageError(result.decode("utf-8", "replace"))
        return header, note, result

    def _replace(self, worker: _Worker) -> None:
        self._alive.discard(worker)
        _keep(self._ending, worker.end(0.0))
        if not self._closing:
            self._start_one()

    def _start_one(self) -> None:
        _keep(self._starting, self._started())

    async def _started(self) -> None:
        """A new process among the idle ones; tries again, with growing pauses."""
        while True:
            try:
                worker = await self._begun()
            except (EOFError, OSError, ValueError, TimeoutError):
                self._failed_starts += 1
                self._news.set()
                await asyncio.sleep(min(0.1 * self._failed_starts, LONGEST_PAUSE))
                continue
            self._failed_starts = 0
            self._alive.add(worker)
            self._idle.put_nowait(worker)
            self._news.set()
            return

    async def _begun(self) -> _Worker:
        """A process that has said it is ready; one that has not is ended beside, also when this is cancelled."""
        worker = await _Worker.start(self._command)
        try:
            await worker.ready()
        except BaseException:
            _keep(self._ending, worker.end(0.0))
            raise
        return worker


class _Worker:
    """One process and its pipes."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a process without pipes")
        self._process, self._in, self._out = process, process.stdin, process.stdout

    @classmethod
    async def start(cls, command: tuple[str, ...]) -> _Worker:
        # A session of its own: Ctrl-C in the terminal reaches the server only.
        options: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=_BUFFER, env=os.environ | _ONE_THREAD, **options
        )
        return cls(process)

    async def ready(self) -> None:
        """Wait for its first words; EOFError, TimeoutError or ValueError when they do not come."""
        async with asyncio.timeout(START_SECONDS):
            if await self._out.readexactly(len(frames.READY)) != frames.READY:
                raise ValueError("not a decoder")

    async def ask(self, kind: frames.Kind, content: bytes, most: int) -> tuple[frames.Done, str, bytes]:
        """Header, note and result; EOFError, OSError or ValueError when the process is broken."""
        self._in.write(frames.job(kind, len(content)))
        self._in.write(content)
        await self._in.drain()
        header = frames.done(await self._out.readexactly(frames.DONE.size), most)
        note = await self._out.readexactly(header.note)
        return header, note.decode("utf-8", "replace"), await self._out.readexactly(header.result)

    async def end(self, seconds: float = 1.0) -> None:
        """Close its stdin, which ends it; kill it when it does not within `seconds`."""
        self._in.close()
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if os.name == "posix":  # asyncio's own kill() asks for the exit code first, and then its watcher finds none
                os.kill(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Run `work` beside everything else; `tasks` holds it until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
