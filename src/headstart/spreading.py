"""Spreading: the race's units and the final training on the workers of a Ray cluster, where `--on` names one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.howmuch.arm import Arm, Runner
from headstart.training import Trainer

if TYPE_CHECKING:
    from headstart.finetune.loop import Course
    from headstart.finetune.tail import Tail
    from headstart.scaling.ray_race import RayRunner
    from headstart.scaling.train_job import TrainGround, TrainTask

FINAL = "race/final"  # folder of the final training in that of the run; forgotten with the race


@dataclass(frozen=True)
class Spread:
    """Who runs the units of a race: `runner`, `at_once` of them together, told `ahead` what is wanted next."""

    runner: Runner
    ahead: Callable[[list[tuple[Arm, int, int]]], None] | None = None
    at_once: int = 1


@contextmanager
def spread(trainer: Trainer, on: str | None, folder: Path) -> Iterator[Spread]:
    """The units of `trainer` on the cluster that `on` names, and its final training; else all in this process.

    Pictures are read by the workers, so they must be files that every machine sees, as must `folder`, the run's.
    """
    if on is None or not on.startswith("ray"):
        yield Spread(trainer.unit)
        return
    if not all(isinstance(source, Path) for source in trainer.ground.sources):
        trainer.say("pictures that are no files cannot be read by other machines: training stays here")
        yield Spread(trainer.unit)
        return
    from headstart.scaling.ray_race import RayRunner
    from headstart.scaling.ray_session import connected
    from headstart.scaling.ray_train import crew_of_cluster

    with connected(on):
        crew = crew_of_cluster()
        trainer.say(f"training on {crew.count} worker{'s' if crew.count > 1 else ''} of the Ray cluster")
        shared = Shared(trainer)
        with RayRunner(shared.ground, shared.unit, trainer.unit, crew) as runner:
            if crew.count > 1:
                trainer.elsewhere = Final(shared, runner, folder / FINAL)
            try:
                yield Spread(runner, runner.ahead, crew.count)
            finally:
                trainer.elsewhere = None


class Shared:
    """What workers are told of a trainer's ground, and of its tasks."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._ground: TrainGround | None = None

    @property
    def ground(self) -> TrainGround:
        """The network by name and hash, the pictures by path; nothing large but the labels."""
        from headstart.scaling.reading import uri_of
        from headstart.scaling.train_job import TrainGround

        if self._ground is None:
            ground = self.trainer.ground
            backbone = ground.backbone
            self._ground = TrainGround(
                backbone=_wherever(backbone.source.spec),
                backbone_key=backbone.key,
                weights_hash=backbone.weights_hash,
                preprocessing=backbone.preprocessing.to_json(),
                uris=tuple(uri_of(source) for source in ground.sources),
                labels=ground.material.labels,
                views=self.trainer.views,
                depths=ground.start.depths,
            )
        return self._ground

    def unit(self, arm: Arm, repeat: int, fold: int) -> TrainTask | None:
        """The task of one unit; None for extra layers, which learn from vectors that are here."""
        if arm.train == "extra":
            return None
        folds = self.trainer.ground.split.folds[repeat]
        rows, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        return self.task(arm, (repeat, fold), rows, held, self.trainer.recipe(arm, len(rows)))

    def task(self, arm: Arm, unit: tuple[int, int] | None, rows: Any, held: Any, recipe: Any) -> TrainTask:
        """One training, with the head it starts from."""
        from headstart.scaling.train_job import TrainTask

        return TrainTask(arm.train, self.trainer.start_head(arm, unit, recipe.seed), rows, held, recipe)


@dataclass(frozen=True)
class Final:
    """The final training on all workers of the cluster together, in `folder`; an interrupted one is gone on with."""

    shared: Shared
    runner: RayRunner
    folder: Path

    def __call__(self, arm: Arm, rows: Any, recipe: Any) -> tuple[Tail, Course] | None:
        """The tail, trained; None where only one worker can: from scratch BatchNorm sees the whole batch."""
        from headstart.scaling.ray_train import by_ray
        from headstart.scaling.train_job import has_result, read_result, write_job

        if arm.train == "scratch":
            return None
        self.runner.close()  # its workers hold the processors
        shared, crew = self.shared, self.runner.crew
        task = shared.task(arm, None, rows, rows[:0], recipe)
        write_job(self.folder, shared.ground, task)
        if not has_result(self.folder):
            by_ray(self.folder, crew.at_most(len(rows)))
        tail = task.tail(shared.trainer.network, shared.ground.depths)
        return tail, read_result(self.folder, tail)


def _wherever(spec: str) -> str:
    """A backbone's name with the path in it, if there is one, made absolute: workers start in other folders."""
    name, at, file = spec.rpartition("@")
    return f"{name}{at}{Path(file).absolute()}" if Path(file).exists() else spec
