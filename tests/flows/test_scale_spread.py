"""`fit --on ray` from race to classifier, with everything but Ray itself: its part is tested in test_scale_train.py."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest

from headstart.config import FitConfig
from headstart.pipeline import fit
from headstart.scaling import ray_race, ray_session, ray_train
from headstart.scaling.launch import in_this_process
from headstart.scaling.ray_train import Crew
from headstart.scaling.train_worker import TrainWorker


class OneByOne:
    """In place of RayRunner: a worker of its own, in this process."""

    def __init__(self, ground: Any, task_of: Any, here: Any, crew: Crew) -> None:
        self.worker, self.task_of, self.here, self.crew = TrainWorker(ground), task_of, here, crew
        self.units: list[str] = []
        self.announced: list[str] = []
        self.closed = 0

    def ahead(self, units: Any) -> None:
        self.announced += [arm.key for arm, _, _ in units]

    def __call__(self, arm: Any, repeat: int, fold: int) -> Any:
        task = self.task_of(arm, repeat, fold)
        course = self.worker.train(task)[1]
        self.units.append(arm.key)
        return ray_race.FoldResult(task.held, course.logits, course.seconds, course.steps, course.blend)

    def close(self) -> None:
        self.closed += 1

    def __enter__(self) -> OneByOne:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def test_the_units_and_the_final_training_go_to_the_workers(few_digits, hurried, tmp_path, monkeypatch):
    """The same result as without workers: units, choice and accuracy."""
    made: list[OneByOne] = []
    jobs: list[Any] = []

    def runner(*given: Any) -> OneByOne:
        made.append(OneByOne(*given))
        return made[-1]

    def by_ray(folder: Any, crew: Crew) -> None:
        assert made[0].closed == 1  # its workers hold the processors
        jobs.append(folder)
        in_this_process(folder)

    monkeypatch.setattr(ray_session, "connected", lambda _on: nullcontext())
    monkeypatch.setattr(ray_train, "crew_of_cluster", lambda: Crew(2, 1, False, 2))
    monkeypatch.setattr(ray_train, "by_ray", by_ray)
    monkeypatch.setattr(ray_race, "RayRunner", runner)
    monkeypatch.setattr("headstart.pipeline.replace", _on_later)
    results = []
    for name, on in (("here", None), ("spread", "ray")):
        _LATER[:] = [on]
        run = fit(few_digits, FitConfig(tmp_path / name, train="last-1", steps=30), None)
        results.append(json.loads((run.folder / "result.json").read_text("utf-8")))
        assert not (run.folder / "race").exists()
    assert made[0].units and set(made[0].units) <= set(made[0].announced) and len(jobs) == 1
    here, spread = results
    assert here["decision"]["train"] == spread["decision"]["train"] == "last-1"
    assert here["accuracy"]["top1"] == pytest.approx(spread["accuracy"]["top1"])
    assert [c["top1"] for c in here["candidates"]] == pytest.approx([c["top1"] for c in spread["candidates"]])


_LATER: list[Any] = [None]


def _on_later(config: FitConfig, **changes: Any) -> FitConfig:
    """`dataclasses.replace` that also says who trains: embedding stays in this process."""
    from dataclasses import replace

    return replace(config, on=_LATER[0], **changes)
