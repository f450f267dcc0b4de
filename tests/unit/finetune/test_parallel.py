"""Training with checkpoints: the loop's own bits, interrupted or not. Several workers: flows/test_scale_train.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.finetune.checkpoint import Checkpoints
from headstart.finetune.group import Group
from headstart.finetune.loop import Course, DivergedError, Lesson, train
from headstart.finetune.parallel import Owned, Saving, train_together
from headstart.finetune.schedule import Recipe
from headstart.finetune.tail import Tail
from lessons import Maps

RECIPE = Recipe(learning_rate=0.02, epochs=2, batch=4, precision="fp32")  # 3 steps an epoch
LABELS = np.arange(15) % 5
STEPS = 6


def lesson(maps: Maps, held: int = 5) -> Lesson:
    return Lesson(maps, LABELS, np.arange(10), np.arange(10, 10 + held))


def tail_of(network: Any, maps: Maps, amount: str = "last-1") -> Tail:
    return Tail(network, amount, maps.depths, maps.head(5))


def same(first: tuple[Tail, Course], second: tuple[Tail, Course]) -> bool:
    """Every parameter and buffer, trained or not, and the course but for its seconds."""
    before, after = first[0].state_dict(), second[0].state_dict()
    arrays = [(first[1].logits, second[1].logits), (first[1].blend, second[1].blend)]
    arrays += [(first[1].trained.head.weights, second[1].trained.head.weights)]
    return (
        all(torch.equal(before[name], after[name]) for name in before | after)
        and all(a is b or np.array_equal(a, b) for a, b in arrays)
        and first[1].steps == second[1].steps
        and len(first[1].seconds) == len(second[1].seconds)
    )


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, blend=True, precision="bf16")])
def test_one_worker_gives_the_bits_of_the_loop(network, photo_maps, recipe):
    results = []
    for run in (train, train_together):
        tail = tail_of(network, photo_maps)
        results.append((tail, run(tail, lesson(photo_maps), recipe)))
    assert same(*results)


class StoppedError(Exception):
    """In place of a kill."""


def interrupted_at(step: int, tail: Tail, of: Lesson, saving: Saving, recipe: Recipe = RECIPE) -> None:
    def stop(_epoch: int, steps: int) -> None:
        if steps == step:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_together(tail, of, recipe, saving=saving, tell=stop)


@pytest.fixture(scope="module")
def undisturbed(network: Any, photo_maps: Maps) -> tuple[Tail, Course]:
    tail = tail_of(network, photo_maps)
    return tail, train_together(tail, lesson(photo_maps), RECIPE)


@pytest.mark.parametrize("every, step", [(1, 1), (1, 3), (1, 4), (1, 6), (2, 1), (2, 5), (100, 4)])
def test_interrupted_anywhere_it_ends_with_the_same_bits(network, photo_maps, undisturbed, tmp_path, every, step):
    saving = Saving(Checkpoints(tmp_path, "a"), every)
    interrupted_at(step, tail_of(network, photo_maps), lesson(photo_maps), saving)
    told: list[int] = []
    tail = tail_of(network, photo_maps)
    course = train_together(tail, lesson(photo_maps), RECIPE, saving=saving, tell=lambda _, steps: told.append(steps))
    assert same(undisturbed, (tail, course))
    assert told == list(range(step // every * every + 1, STEPS + 1))


def test_from_scratch_as_well(network, photo_maps, tmp_path):
    """There BatchNorm's statistics and what dropout draws are part of the state."""
    of, recipe = Lesson(photo_maps, LABELS, np.arange(4), np.arange(0)), replace(RECIPE, epochs=1, batch=2)
    torch.manual_seed(0)
    once = tail_of(network, photo_maps, "scratch")
    course = train(once, of, recipe)
    torch.manual_seed(0)
    saving = Saving(Checkpoints(tmp_path, "a"), 1)
    interrupted_at(1, tail_of(network, photo_maps, "scratch"), of, saving, recipe)
    torch.manual_seed(5)
    twice = tail_of(network, photo_maps, "scratch")
    assert same((once, course), (twice, train_together(twice, of, recipe, saving=saving)))


def test_a_finished_one_is_only_read(network, photo_maps, undisturbed, tmp_path):
    saving = Saving(Checkpoints(tmp_path, "a"), 4)
    for _ in range(2):
        steps: list[int] = []
        tail = tail_of(network, photo_maps)
        course = train_together(
            tail, lesson(photo_maps), RECIPE, saving=saving, tell=lambda _, step, told=steps: told.append(step)
        )
        assert same(undisturbed, (tail, course))
    assert steps == []


def test_a_newest_checkpoint_that_is_damaged_costs_steps_only(network, photo_maps, undisturbed, tmp_path):
    saving = Saving(Checkpoints(tmp_path, "a"), 1)
    interrupted_at(4, tail_of(network, photo_maps), lesson(photo_maps), saving)
    state = tmp_path / "step-000000004" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    tail = tail_of(network, photo_maps)
    assert same(undisturbed, (tail, train_together(tail, lesson(photo_maps), RECIPE, saving=saving)))


def test_what_is_frozen_stays_through_a_restart(network, photo_maps, tmp_path):
    saving = Saving(Checkpoints(tmp_path, "a"), 2)
    interrupted_at(3, tail_of(network, photo_maps), lesson(photo_maps), saving)
    tail = tail_of(network, photo_maps)
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    train_together(tail, lesson(photo_maps), RECIPE, saving=saving)
    live = {name for name, p in tail.named_parameters() if p.requires_grad}
    after = tail.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and moved <= live and len(live) < len(before)


def test_without_anything_held_out(network, photo_maps, tmp_path):
    tail = tail_of(network, photo_maps)
    course = train_together(tail, lesson(photo_maps, 0), RECIPE, saving=Saving(Checkpoints(tmp_path, "a"), 2))
    assert course.logits.shape == (2, 0, 5) and course.blend is None and course.steps == STEPS


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_is_said_before_the_step(network, photo_maps, what):
    tail = tail_of(network, photo_maps)
    if what == "loss":
        tail.head.bias.data[2] = float("nan")
    else:
        tail.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = tail.head.weight.detach().clone()
    with pytest.raises(DivergedError, match=what):
        train_together(tail, lesson(photo_maps), RECIPE)
    assert torch.equal(before, tail.head.weight)


def test_from_scratch_needs_one_worker(network, photo_maps):
    with pytest.raises(ValueError, match="one worker"):
        train_together(tail_of(network, photo_maps, "scratch"), lesson(photo_maps), RECIPE, Group(0, 2))


def test_a_worker_owns_every_other_picture():
    class Everything:
        def batch(self, cut: int, rows: np.ndarray, views_of_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return rows, views_of_rows

        def views(self, cut: int) -> tuple[str, ...]:
            return ("a", "b", "c")

    second = Owned(Everything(), Group(1, 3), 2)
    assert Group(1, 3).owned(np.arange(7)).tolist() == [False, True, False, False, True, False, False]
    assert second.batch(0, np.array([4, 1]), np.array([0, 1]))[0].tolist() == [1, 0]
    assert second.views(0) == ("a", "b")
    with pytest.raises(ValueError, match="does not own"):
        second.batch(0, np.array([4, 2]), np.array([0, 0]))
