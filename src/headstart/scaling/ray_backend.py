"""The Ray backend: actors on whatever machines Ray has. Ray places and watches them; the ledger is the guarantee."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import MachineError
from headstart.scaling.answers import checked
from headstart.scaling.backend import Told
from headstart.scaling.chunks import Chunk
from headstart.scaling.ledger import Ledger
from headstart.scaling.ray_session import connected
from headstart.scaling.ray_worker import RayWorker
from headstart.scaling.spec import Spec
from headstart.scaling.worker import Done

_LOOK = 1.0  # seconds between looks at how large the cluster is
_STARTS = 3  # workers in a row that die before they have their engine: it is the machine
_PATIENCE = 900.0  # seconds without any worker: as long as a cloud may need to start a machine with a GPU
_KEPT = ("HEADSTART_CACHE",)  # variables of this process that the workers get


class RayBackend:
    """`on`: ray or ray://HOST:PORT (ray_session.py); `workers`: at most so many; `embedder`: see Worker.

    `environment`: further variables of the workers' processes.
    """

    def __init__(
        self,
        on: str = "ray",
        workers: int | None = None,
        embedder: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._on, self._workers, self._embedder = on, workers, embedder
        self._environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | dict(environment or {})

    def work(self, folder: Path, chunks: Sequence[Chunk], told: Told) -> None:
        """See Backend."""
        if not chunks:
            return
        ledger = Ledger(folder)
        with connected(self._on) as ray:
            crew = _Crew(ray, ledger, self._workers, (self._embedder, self._environment))
            try:
                crew.work(chunks, told)
            except ConnectionError as error:  # of the Ray client
                reason = " ".join(str(error).split())[:160]
                raise MachineError(f"the connection to Ray is lost ({reason}): run the same command again") from None
            finally:
                crew.dismiss()


@dataclass
class _Hand:
    """One actor, and the chunk it works on (None: it is starting); whether it could not be reached before."""

    actor: Any
    chunk_id: str | None = None
    doubted: bool = False


class _Crew:
    """All actors of this driver. One question to each is open at a time; they are answered in any order.

    There are as many as the cluster has room for, and a few more that wait: these make an autoscaler add machines, and
    are placed by Ray when a machine joins or somebody else leaves.
    """

    def __init__(
        self, ray: Any, ledger: Ledger, workers: int | None, given: tuple[str | None, Mapping[str, str]]
    ) -> None:
        self._ray, self._ledger = ray, ledger
        spec = ledger.spec
        self._most = workers or (1 if spec.device == "mps" else len(ledger.chunks))
        self._per_worker = _resources(spec)
        self._class = ray.remote(**_options(spec))(RayWorker)
        embedder, environment = given
        environment = {"HF_HUB_OFFLINE": "1", "PWD": str(Path.cwd()), **environment}
        self._given = (str(ledger.folder.absolute()), spec.hash, embedder, environment)
        self._todo: deque[str] = deque()
        self._hands: dict[Any, _Hand] = {}  # by the answer that is awaited
        self._left = self._room = self._failed_starts = 0
        self._looked = self._busy_at = 0.0

    def work(self, chunks: Sequence[Chunk], told: Told) -> None:
        """Do the chunks."""
        self._todo.extend(chunk.id for chunk in chunks)
        self._left, self._busy_at = len(chunks), time.monotonic()
        while self._left:
            self._hire()
            answered, _ = self._ray.wait(list(self._hands), num_returns=1, timeout=_LOOK)
            for answer in answered:
                self._heard(self._hands.pop(answer), answer, told)

    def dismiss(self) -> None:
        """End every actor at once."""
        for hand in self._hands.values():
            self._end(hand)
        self._hands.clear()

    def _hire(self) -> None:
        """Actors up to what there is room and work for, and a quarter more to wait for room."""
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._looked, self._room = now, self._count_room()
        working = sum(hand.chunk_id is not None for hand in self._hands.values())
        if working:
            self._busy_at = now
        elif now - self._busy_at > _PATIENCE:
            raise MachineError(
                f"no worker could start for {_PATIENCE / 60:.0f} minutes: each needs {self._needs()}; has the cluster "
                "that, and is it free (ray status)?"
            )
        wanted = min(self._left, self._most, max(self._room, working) + 1 + working // 4)
        while len(self._hands) < wanted:
            self._ask(_Hand(self._class.remote(*self._given)))

    def _ask(self, hand: _Hand) -> None:
        actor = hand.actor
        self._hands[actor.prepare.remote() if hand.chunk_id is None else actor.run.remote(hand.chunk_id)] = hand

    def _count_room(self) -> int:
        """How many actors fit the cluster as it is now."""
        there = self._ray.cluster_resources()
        return int(min(there.get(name, 0.0) // amount for name, amount in self._per_worker.items()))

    def _needs(self) -> str:
        return " and ".join(f"{amount:g} {name}" for name, amount in self._per_worker.items())

    def _heard(self, hand: _Hand, answer: Any, told: Told) -> None:
        """One actor answered, or died."""
        try:
            said = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            if isinstance(error, self._ray.exceptions.ActorUnavailableError) and not hand.doubted:
                hand.doubted = True  # asked again it answers, or Ray knows by then what became of it
                self._ask(hand)
                return
            self._end(hand)
            self._lost(hand, error)
            return
        try:
            checked(said)
        except BaseException:
            self._end(hand)
            raise
        if hand.chunk_id is None:
            self._failed_starts = 0
        else:
            self._left -= 1
        before = hand.chunk_id
        if self._todo:
            hand.chunk_id, hand.doubted = self._todo.popleft(), False
            self._ask(hand)
        else:
            self._end(hand)
        if before is not None:
            told(Done(**said))

    def _lost(self, hand: _Hand, error: Exception) -> None:
        """The chunk comes again, first; a node that went away is not its fault."""
        if hand.chunk_id is not None:
            self._todo.appendleft(hand.chunk_id)
            if not self._left_us(error):
                self._ledger.crashed(hand.chunk_id, _why(error))
        elif not self._left_us(error):
            self._failed_starts += 1
            if self._failed_starts >= _STARTS or isinstance(error, self._ray.exceptions.RayTaskError):
                raise MachineError(
                    f"a worker cannot start ({_why(error)}): is the same headstart installed on every machine, and is "
                    "there enough memory?"
                )

    def _left_us(self, error: Exception) -> bool:
        """Whether the worker is gone because its machine is, or cannot be reached."""
        unreachable = isinstance(error, self._ray.exceptions.ActorUnavailableError)
        return unreachable or getattr(error, "preempted", False) or "node has died" in str(error)

    def _end(self, hand: _Hand) -> None:
        with suppress(Exception):  # it is dead already
            self._ray.kill(hand.actor, no_restart=True)


def _resources(spec: Spec) -> dict[str, float]:
    """What one worker takes, by Ray's names."""
    return {"CPU": float(spec.threads)} | ({"GPU": 1.0} if spec.device == "cuda" else {})


def _options(spec: Spec) -> dict[str, Any]:
    """The ledger knows what is to be done again, so Ray restarts and repeats nothing."""
    gpus = 1 if spec.device == "cuda" else 0
    return {"num_cpus": spec.threads, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}


def _why(error: Exception) -> str:
    """The last line of what a worker raised; of its death what Ray knows."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {cause}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next(
        (line for line in lines if "exit type" in line or "is dead because" in line), lines[-1] if lines else ""
    )
    return told[:160] or type(error).__name__
