"""A training job on the workers of a Ray cluster: Ray Train starts them, and starts them again when one is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.errors import MachineError
from headstart.scaling.extra import scale_package
from headstart.scaling.train_worker import run_job

LOSSES = 3  # how often workers may be lost before the training gives up
_LOGS = "ray"  # what Ray Train itself writes, in the job's folder
Loop = Callable[[dict[str, Any]], None]  # what each worker runs


@dataclass(frozen=True)
class Crew:
    """Workers that the cluster has room for: `count`, each of `cpus` processors and, with `gpu`, one GPU.

    `each`: how many of them one machine holds.
    """

    count: int
    cpus: int
    gpu: bool
    each: int

    def at_most(self, count: int) -> Crew:
        """The same with `count` workers at most."""
        return replace(self, count=min(self.count, count))


MOST_CPUS = 4  # of one worker: batches of 16 keep no more of them busy


def crew_of_cluster() -> Crew:
    """One worker per GPU; without any, one per four processors of a machine. Ray must be connected."""
    ray = scale_package("ray")
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if any(gpus):
        cpus = min(int(node.get("CPU", 1)) // max(1, gpu) for node, gpu in zip(nodes, gpus, strict=True) if gpu)
        return Crew(sum(gpus), max(1, min(MOST_CPUS, cpus)), True, max(gpus))
    counts = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    if not counts:
        raise MachineError("the Ray cluster has no processors for us: give its nodes --num-cpus")
    cpus = min(MOST_CPUS, *counts)
    return Crew(sum(count // cpus for count in counts), cpus, False, max(counts) // cpus)


def loop(config: dict[str, Any]) -> None:
    """What each worker runs."""
    run_job(Path(config["job"]))


def by_ray(folder: Path, crew: Crew, each: Loop = loop) -> None:
    """Do the job in `folder`, which all machines see, on `crew`; Ray must be connected.

    A lost worker or machine costs the steps since the newest checkpoint: the others are stopped and all begin again
    there, three times at most. Ray's own checkpoints are not used: ours lie in the job's folder, as under torchrun.
    MachineError when the workers give up.
    """
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")  # torch from a busy shared disk: minutes
    scale_package("ray.train")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources: dict[str, float] = {"CPU": crew.cpus, "GPU": 1} if crew.gpu else {"CPU": crew.cpus}
    folder = folder.absolute()
    logs = folder / _LOGS
    logs.mkdir(parents=True, exist_ok=True)
    trainer = TorchTrainer(
        each,
        train_loop_config={"job": str(folder)},
        torch_config=TorchConfig(backend="nccl" if crew.gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=crew.count, use_gpu=crew.gpu, resources_per_worker=resources),
        run_config=RunConfig(storage_path=str(logs), failure_config=FailureConfig(max_failures=LOSSES)),
    )
    failure = _failure(trainer)
    if failure is not None:
        raise MachineError(f"training on the Ray cluster failed: {failure}")


def _failure(trainer: Any) -> str | None:
    """The last line of what went wrong, or None."""
    from ray.train import TrainingFailedError

    try:
        trainer.fit()
        return None
    except TrainingFailedError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else repr(error))
