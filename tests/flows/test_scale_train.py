"""Fine-tuning on several workers, which are killed. Two cores prove that the results are right, not that it is fast."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.backbone.backbone import Backbone, open_backbone
from headstart.errors import DataError, MachineError
from headstart.finetune.loop import Course
from headstart.finetune.schedule import Recipe
from headstart.finetune.tail import Tail
from headstart.finetune.views import View
from headstart.head.linear import LinearHead
from headstart.howmuch.allowance import Allowance
from headstart.howmuch.arm import Arm, FoldResult, FrozenAnswer
from headstart.howmuch.ledger import Ledger
from headstart.howmuch.race import race
from headstart.howmuch.race_options import RaceOptions
from headstart.scaling.launch import by_torchrun, in_this_process
from headstart.scaling.train_job import TrainGround, TrainTask, read_job, read_result, write_job
from headstart.scaling.train_main import main
from headstart.scaling.train_worker import TrainWorker
from race_world import World

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the extra [scale] is for Linux and macOS"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its log files and processes to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # the same, said by pytest
]
N, CLASSES = 18, 3
RECIPE = Recipe(0.02, epochs=2, batch=5, precision="fp32", seed=4)  # 3 steps an epoch, some uneven
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TrainGround, TrainTask, Backbone]]:
    """Smooth random pictures of 160 pixels, a small random network, one thread per process."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for i in range(N):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((160, 160), Image.Resampling.BICUBIC).save(folder / f"{i:02}.png")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", pretrained=False).state_dict(), folder / "net.safetensors")
    backbone = open_backbone(f"test_resnet@{folder / 'net.safetensors'}")
    backbone.graph()
    last, dim = len(backbone.depths) - 1, backbone.depths[-1].dim
    ground = TrainGround(
        backbone.source.spec,
        backbone.key,
        backbone.weights_hash,
        backbone.preprocessing.to_json(),
        tuple(str(path) for path in sorted(folder.glob("*.png"))),
        np.arange(N) % CLASSES,
        (View(), View("horizontal")),
        (last,),
    )
    head = LinearHead(rng.normal(0, 0.02, (CLASSES, dim)), np.zeros(CLASSES), np.zeros(dim), np.ones(dim))
    task = TrainTask("last-1", head, np.arange(14), np.arange(14, N), RECIPE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(TESTS))
        yield ground, task, backbone
    torch.set_num_threads(threads)


def job(folder: Path, world: Any, kill: tuple[int, int] | None = None) -> Path:
    write_job(folder, *world[:2])
    if kill is not None:
        (folder / "kill.json").write_text(json.dumps(kill))
    return folder


def result(folder: Path, world: Any) -> tuple[Tail, Course]:
    tail = world[1].tail(world[2].torch_module(), world[0].depths)
    return tail, read_result(folder, tail)


def numbers(found: tuple[Tail, Course]) -> dict[str, np.ndarray]:
    """All weights, frozen ones too, and the logits."""
    tail, course = found
    state = {name: value.detach().numpy().copy() for name, value in tail.state_dict().items()}
    return {**state, "logits": course.logits, "blend": course.blend}


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def by_one(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = job(tmp_path_factory.mktemp("one"), world)
    in_this_process(folder)
    return numbers(result(folder, world))


@pytest.fixture(scope="module")
def by_two(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = job(tmp_path_factory.mktemp("two"), world)
    by_torchrun(folder, 2)
    return numbers(result(folder, world))


def test_a_job_comes_back(world, tmp_path):
    ground, task = read_job(job(tmp_path, world))
    assert vars(ground) | {"labels": 0} == vars(world[0]) | {"labels": 0}
    assert np.array_equal(ground.labels, world[0].labels)
    assert task.recipe == RECIPE and np.array_equal(task.head.weights, world[1].head.weights)
    with pytest.raises(MachineError, match="every worker sees"):
        read_job(tmp_path / "elsewhere")


def test_another_network_is_refused(world):
    with pytest.raises(MachineError, match="another than the work was begun"):
        TrainWorker(replace(world[0], weights_hash="0" * 64))


def test_two_workers_take_the_steps_of_one(world, by_one, by_two):
    """Up to the order of sums; what is frozen is the pretrained network's, bit for bit."""
    start = world[1].tail(world[2].torch_module(), world[0].depths)
    live = {name for name, p in start.named_parameters() if p.requires_grad}
    before = {name: value.numpy() for name, value in start.state_dict().items() if name not in live}
    moved = 0.0
    for name, one in by_one.items():
        two = by_two[name]
        if name in before:
            assert np.array_equal(before[name], one) and np.array_equal(one, two), name
        else:
            np.testing.assert_allclose(two, one, rtol=0, atol=2e-5, err_msg=name)
            moved += (
                0.0
                if name not in live
                else float(np.abs(one - dict(start.named_parameters())[name].detach().numpy()).max())
            )
    assert moved > 1e-2


@pytest.mark.slow
def test_torchrun_with_a_killed_worker_ends_with_the_same_bits(world, by_two, tmp_path):
    folder = job(tmp_path, world, kill=(1, 5))
    by_torchrun(folder, 2, "killed_training", every=2)
    assert (folder / "killed").exists()
    assert same(numbers(result(folder, world)), by_two)


@pytest.mark.slow
def test_one_process_killed_and_started_again_ends_with_the_same_bits(world, by_one, tmp_path):
    folder = job(tmp_path, world, kill=(0, 3))
    command = [sys.executable, "-m", "killed_training", str(folder), "--every=2"]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000000002"]
    in_this_process(folder)
    assert same(numbers(result(folder, world)), by_one)


def test_a_worker_that_cannot_work_says_why(world, tmp_path, monkeypatch, capsys):
    ground, task, _ = world
    write_job(tmp_path, replace(ground, uris=(*ground.uris[:-1], "/no/such.png")), task)
    monkeypatch.setattr(sys, "argv", ["train_main", str(tmp_path)])
    said = []
    for wanted in (DataError, MachineError):
        assert main() == wanted.exit_code
        said.append(capsys.readouterr().err)
        (tmp_path / "job.npz").unlink(missing_ok=True)
    assert "no/such.png" in said[0] and "every worker sees" in said[1] and not any("Traceback" in text for text in said)


@pytest.fixture(scope="module")
def ray(world: Any) -> Iterator[Any]:
    """Ray of this module: two processors, nothing on the network."""
    pytest.importorskip("ray")
    from headstart.scaling.ray_session import connected

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "local")  # not one that somebody else started here
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # one process less to start
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.setenv(name, "")
            patch.delenv(name)  # what Ray of our own sets is gone afterwards
        with connected("ray") as found:
            yield found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Train imports what Ray Data deprecates
def test_ray_train_with_a_killed_worker_ends_with_the_same_bits(world, by_two, ray, tmp_path):
    from headstart.scaling.ray_train import Crew, by_ray
    from killed_training import loop

    folder = job(tmp_path, world, kill=(1, 5))
    by_ray(folder, Crew(2, 1, False, 2), loop)
    assert (folder / "killed").exists()
    assert same(numbers(result(folder, world)), by_two)


FOLDS = np.stack([np.arange(N) % 3, np.arange(N) // 6])
PLAN = ("last-1", "last-2")


def unit_task(world: Any, arm: Arm, repeat: int, fold: int) -> TrainTask:
    rows, held = np.flatnonzero(FOLDS[repeat] != fold), np.flatnonzero(FOLDS[repeat] == fold)
    recipe = replace(RECIPE, learning_rate=10 * (arm.learning_rate or 0.0))
    return replace(world[1], train=arm.train, rows=rows, held=held, recipe=recipe)


def raced(world: Any, runner: Any, folder: Path, **told: Any) -> tuple[list[Any], dict[str, bytes]]:
    """What became of every arm, and its units as the ledger keeps them."""
    labels = world[0].labels
    answer = FrozenAnswer(np.zeros((N, CLASSES), np.float32), np.ones(N, bool), labels)
    plan = World(n=N, folds_count=3).plan(PLAN)
    ledger = Ledger(folder, "x")
    found = race(plan, runner, answer, FOLDS, Allowance(10_000), RaceOptions(ledger, **told))
    units = {}
    for run in found.runs:
        for repeat, fold in [(r, f) for r in range(2) for f in range(3)]:
            unit = ledger.read(run.arm, repeat, fold)
            if unit is not None:
                units[f"{run.arm.key} {repeat} {fold}"] = unit.logits.tobytes() + unit.blend.tobytes()
    return [(run.arm.key, run.units, run.status, run.why, run.score.top1) for run in found.runs], units


@pytest.mark.slow
def test_a_race_on_the_cluster_is_the_race_of_one_process(world, ray, tmp_path):
    """The same decisions and, with as many threads, the same bits; a worker that is killed costs its unit's time."""
    from headstart.scaling.ray_race import RayRunner
    from headstart.scaling.ray_train import Crew

    here = TrainWorker(world[0])

    def sequential(arm: Arm, repeat: int, fold: int) -> FoldResult:
        task = unit_task(world, arm, repeat, fold)
        course = here.train(task)[1]
        return FoldResult(task.held, course.logits, course.seconds, course.steps, course.blend)

    alone = raced(world, sequential, tmp_path / "alone")
    killed: list[int] = []
    with RayRunner(world[0], lambda *unit: unit_task(world, *unit), sequential, Crew(2, 1, False, 2)) as runner:

        def ahead(units: Any) -> None:
            runner.ahead(units)
            if not killed and len(runner._working) == 2:
                actor = next(iter(runner._working.values()))[0]
                ray.kill(actor, no_restart=True)
                killed.append(1)

        together = raced(world, runner, tmp_path / "together", ahead=ahead, at_once=2)
    assert killed and len(alone[1]) >= 6
    assert together == alone
