"""The local backend: one child process per core of this machine, so that a picture may kill its process."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from headstart.engine.cores import usable_cores
from headstart.scaling.child import Child, ChildDiedError, started
from headstart.scaling.chunks import Chunk
from headstart.scaling.ledger import Ledger
from headstart.scaling.worker import Done

_Report = Done | BaseException | None  # None: a lane has nothing left to do


class LocalBackend:
    """`workers` child processes (None: as many as cores / threads of a worker); `embedder`: see Worker."""

    def __init__(self, workers: int | None = None, embedder: str | None = None) -> None:
        self._workers, self._embedder = workers, embedder

    def work(self, folder: Path, chunks: Sequence[Chunk], told: Callable[[Done], None]) -> None:
        """See Backend."""
        if not chunks:
            return
        ledger = Ledger(folder)
        workers = self._workers or (1 if ledger.spec.device != "cpu" else usable_cores() // ledger.spec.threads)
        lanes = _Lanes(ledger, chunks, self._embedder)
        threads = [
            threading.Thread(target=lanes.drive, name=f"headstart-lane-{i}", daemon=True)
            for i in range(min(max(1, workers), len(chunks)))
        ]
        try:
            for thread in threads:
                thread.start()
            left = len(threads)
            while left:
                report = lanes.reports.get()
                if isinstance(report, Done):
                    told(report)
                elif report is None:
                    left -= 1
                else:
                    raise report
        finally:
            lanes.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()


class _Lanes:
    """What the threads share: each drives one child through chunks that are still to do."""

    def __init__(self, ledger: Ledger, chunks: Sequence[Chunk], embedder: str | None) -> None:
        self.reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self._ledger, self._embedder = ledger, embedder
        self._todo = deque(chunk.id for chunk in chunks)
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._stopped = False

    def stop(self) -> None:
        """End every child at once; their threads then find out."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                child.end(at_once=True)

    def drive(self) -> None:
        """Do chunks until none is left, on a new child whenever one dies."""
        child: Child | None = None
        report: BaseException | None = None
        try:
            while (chunk_id := self._next()) is not None:
                done = None
                while done is None and not self._stopped:
                    try:
                        child = child or self._start()
                        done = child.run(chunk_id)
                    except ChildDiedError as error:
                        if child is not None:
                            self._end(child)
                        child = None
                        if not self._stopped:
                            self._ledger.crashed(chunk_id, str(error))
                if done is not None:
                    self.reports.put(done)
        except BaseException as error:  # the thread's end must not be its secret
            report = error
        if child is not None:
            self._end(child)
        self.reports.put(report)

    def _next(self) -> str | None:
        with suppress(IndexError):
            if not self._stopped:
                return self._todo.popleft()
        return None

    def _start(self) -> Child:
        return started(self._ledger.folder, self._embedder, self._keep)

    def _keep(self, child: Child) -> None:
        with self._lock:
            self._children.add(child)
            if self._stopped:
                child.end(at_once=True)

    def _end(self, child: Child) -> None:
        with self._lock:
            self._children.discard(child)
        child.end()
