"""The units of a race on the workers of a Ray cluster: begun ahead, several at a time, each the same as it is here."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import MachineError
from headstart.howmuch.arm import Arm, FoldResult, Runner
from headstart.scaling.extra import scale_package
from headstart.scaling.ray_train import Crew
from headstart.scaling.train_job import TrainGround, TrainTask

if TYPE_CHECKING:
    from headstart.scaling.train_worker import TrainWorker

Unit = tuple[Arm, int, int]
TaskOf = Callable[[Arm, int, int], TrainTask | None]  # None: this unit is not for workers
TRIES = 3  # of a unit whose worker dies
_LOOK = 1.0  # seconds between looks at Ctrl-C
_PATIENCE = 900.0  # seconds without any answer before the cluster is asked whether it lives
_KEPT = ("HEADSTART_CACHE", "HF_HUB_OFFLINE")  # variables of this process that the workers get


@dataclass(frozen=True)
class Trained:
    """What a worker gives back, numbers only: as FoldResult; `failed` where nothing came out."""

    logits: NDArray[np.float32]
    seconds: NDArray[np.float64]
    steps: int
    blend: NDArray[np.float32] | None
    failed: str | None = None


class RaceWorker:
    """Runs on the cluster, as an actor. It reads its pictures itself and keeps their activations between units."""

    def __init__(self, ground: TrainGround, here: int) -> None:
        self._ground, self._here = ground, here
        self._worker: TrainWorker | None = None

    def train(self, task: TrainTask) -> Trained:
        """One unit; one that diverges or does not fit into memory says so."""
        from headstart.finetune.memory import wait_politely

        wait_politely()
        from headstart.finetune.group import Group, device_of_this_process
        from headstart.finetune.loop import out_of_memory
        from headstart.scaling.train_worker import TrainWorker

        empty = np.zeros((0, len(task.held), len(task.head.bias)), np.float32)
        try:
            if self._worker is None:
                self._worker = TrainWorker(self._ground, Group(here=self._here, device=device_of_this_process()))
            course = self._worker.train(task)[1]
        except ArithmeticError as error:
            return Trained(empty, np.zeros(0), 0, None, str(error))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return Trained(empty, np.zeros(0), 0, None, "out of memory")
        return Trained(course.logits, course.seconds, course.steps, course.blend)


class RayRunner:
    """A runner of the race: `ahead` tells what is wanted next, a call waits for one unit. A context manager.

    `task_of` makes the task of a unit; units without one are done by `here`, in this process. Ray must be connected.
    A unit whose worker dies is done again by another, three times. MachineError when a worker cannot work at all.
    """

    def __init__(self, ground: TrainGround, task_of: TaskOf, here: Runner, crew: Crew) -> None:
        self._ray = scale_package("ray")
        self._task_of, self._here, self.crew = task_of, here, crew
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._class = self._ray.remote(
            num_cpus=crew.cpus,
            num_gpus=1 if crew.gpu else 0,
            max_restarts=0,
            runtime_env={"env_vars": {**environment, "OMP_NUM_THREADS": str(crew.cpus), "OMP_WAIT_POLICY": "PASSIVE"}},
        )(RaceWorker)
        self._ground = self._ray.put(ground)
        self._waiting: deque[Unit] = deque()
        self._working: dict[Any, tuple[Any, Unit]] = {}  # answer -> actor, unit
        self._idle: list[Any] = []
        self._done: dict[Unit, Trained] = {}
        self._deaths: dict[Unit, int] = {}

    def ahead(self, units: Sequence[Unit]) -> None:
        """Begin `units`, in this order; what was wanted earlier and is not begun is forgotten."""
        begun = {unit for _, unit in self._working.values()} | self._done.keys()
        tasks = [unit for unit in units if unit not in begun and unit[0].train != "extra"]
        self._waiting = deque(tasks)
        self._hand_out()

    def __call__(self, arm: Arm, repeat: int, fold: int) -> FoldResult:
        """The result of one unit, the same as in this process with as many threads."""
        unit = (arm, repeat, fold)
        task = self._task_of(*unit)
        if task is None:
            return self._here(*unit)
        if unit not in self._done and unit not in self._waiting and not self._is_begun(unit):
            self._waiting.appendleft(unit)
        since = time.monotonic()
        while unit not in self._done:
            self._hand_out()
            answered, _ = self._ray.wait(list(self._working), num_returns=1, timeout=_LOOK)
            for answer in answered:
                self._heard(answer)
                since = time.monotonic()
            if time.monotonic() - since > _PATIENCE:
                self._look_for_machines()
                since = time.monotonic()
        found = self._done.pop(unit)
        return FoldResult(task.held, found.logits, found.seconds, found.steps, found.blend, found.failed)

    def close(self) -> None:
        """End all workers; what is not asked for yet is lost."""
        for actor in [*self._idle, *(actor for actor, _ in self._working.values())]:
            self._end(actor)
        self._working.clear()
        self._idle.clear()
        self._waiting.clear()

    def __enter__(self) -> RayRunner:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _is_begun(self, unit: Unit) -> bool:
        return any(unit == other for _, other in self._working.values())

    def _hand_out(self) -> None:
        """Units to workers that have none, and to new ones while there is room."""
        while self._waiting and (self._idle or len(self._working) < self.crew.count):
            task = self._task_of(*self._waiting[0])
            unit = self._waiting.popleft()
            if task is None:
                continue
            actor = self._idle.pop() if self._idle else self._class.remote(self._ground, self.crew.each)
            self._working[actor.train.remote(task)] = (actor, unit)

    def _heard(self, answer: Any) -> None:
        actor, unit = self._working.pop(answer)
        try:
            self._done[unit] = self._ray.get(answer)
            self._idle.append(actor)
        except self._ray.exceptions.RayTaskError as error:  # it raised
            self._end(actor)
            cause = error.cause if isinstance(error.cause, Exception) else error
            raise cause from None
        except self._ray.exceptions.RayError as error:  # it, or its machine, is dead
            self._end(actor)
            self._deaths[unit] = self._deaths.get(unit, 0) + 1
            if self._deaths[unit] < TRIES:
                self._waiting.appendleft(unit)
            else:
                why = f"its worker died {TRIES} times ({type(error).__name__})"
                self._done[unit] = Trained(np.zeros((0, 0, 0), np.float32), np.zeros(0), 0, None, why)

    def _look_for_machines(self) -> None:
        there = self._ray.cluster_resources()
        if there.get("CPU", 0) < self.crew.cpus or (self.crew.gpu and not there.get("GPU")):
            raise MachineError("the Ray cluster has no machine left that could train: is it running (ray status)?")

    def _end(self, actor: Any) -> None:
        with suppress(Exception):  # it is dead already
            self._ray.kill(actor, no_restart=True)
