"""The loop learns, changes only what it may, gives the same twice, and survives what goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbone.backbone import Backbone
from headstart.backbone.folding import folded
from headstart.evaluation.metrics import row_nll
from headstart.finetune import loop
from headstart.finetune.loop import Course, DivergedError, Lesson, Training, even_part, logits_of, out_of_memory, train
from headstart.finetune.precision import precisions
from headstart.finetune.schedule import Recipe
from headstart.finetune.tail import Tail
from headstart.finetune.trainable import trainable
from headstart.howmuch.start import fresh_head
from lessons import Maps, squares

RECIPE = Recipe(learning_rate=0.02, epochs=2, batch=8, precision=precisions("cpu")[0])
LABELS = np.arange(15) % 5
LEARN, HELD = np.arange(10), np.arange(10, 15)
NOBODY = np.arange(0)
OTHER_MEMORY = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


def lesson(maps: Maps, rows: np.ndarray = LEARN, held: np.ndarray = HELD) -> Lesson:
    return Lesson(maps, LABELS, rows, held)


def tail_of(network: Any, maps: Maps, amount: str = "last-1") -> Tail:
    return Tail(network, amount, maps.depths, maps.head(5))


def tail_logits(network: Any, maps: Maps) -> np.ndarray:
    """Of the held rows, before any training."""
    return logits_of(tail_of(network, maps, "all"), maps, HELD)


def state(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


def same(first: Course, second: Course) -> bool:
    weights = zip(first.trained.tensors.values(), second.trained.tensors.values(), strict=True)
    heads = np.array_equal(first.trained.head.weights, second.trained.head.weights)
    return heads and np.array_equal(first.logits, second.logits) and all(np.array_equal(a, b) for a, b in weights)


class NeedsMemory(nn.Module):
    """In place of a stage: fails as torch does when a batch is above `limit` pictures."""

    def __init__(self, stage: nn.Module, limit: int, message: str = OTHER_MEMORY) -> None:
        super().__init__()
        self.stage, self.limit, self.message, self.sizes = stage, limit, message, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.limit:
            raise RuntimeError(self.message)
        self.sizes.append(len(x))
        return self.stage(x)


def short_of_memory(tail: Tail, limit: int, message: str = OTHER_MEMORY) -> NeedsMemory:
    blocks = tail.network.body.blocks
    blocks[6] = NeedsMemory(blocks[6], limit, message)
    return blocks[6]


def test_training_lowers_the_loss_on_real_digits(network: Any, lite0: Backbone, digits: Path) -> None:
    pixels, labels = squares(digits, lite0, 3, 8)
    maps = Maps(network, pixels)
    start = fresh_head(maps.head(3), seed=0)
    tail = Tail(network, "last-1", (7,), start)
    before = row_nll(logits_of(tail, maps, np.arange(24)), labels)
    assert before.mean() == pytest.approx(np.log(3), abs=0.05)
    course = train(tail, Lesson(maps, labels, np.arange(15), np.arange(15, 24)), replace(RECIPE, epochs=8))
    held = row_nll(course.logits[-1], labels[15:])
    assert held.mean() < 0.75 * before.mean()
    assert row_nll(logits_of(tail, maps, np.arange(15)), labels[:15]).mean() < held.mean()


def test_what_a_course_says(network: Any, photo_maps: Maps) -> None:
    told: list[int] = []
    tail = tail_of(network, photo_maps)
    course = train(tail, lesson(photo_maps), RECIPE, told.append)
    assert course.logits.shape == (2, 5, 5)
    assert course.logits.dtype == np.float32
    assert told == [0, 1]
    assert course.steps == 4
    assert 0 < course.seconds[0] < course.seconds[1]
    # the last epoch is what is left in the tail and what is given back
    assert np.array_equal(course.logits[-1], logits_of(tail, photo_maps, HELD))
    assert not np.array_equal(course.logits[0], course.logits[1])
    assert not any(module.training for module in tail.modules())
    assert np.array_equal(course.trained.head.weights, tail.head.weight.detach().numpy())


@pytest.mark.parametrize("amount", ["last-1", "last-2"])
def test_nothing_below_the_cut_changes(network: Any, photo_maps: Maps, amount: str) -> None:
    pretrained, plain = state(network), state(folded(network))
    course = train(tail := tail_of(network, photo_maps, amount), lesson(photo_maps), RECIPE)
    assert not changed(pretrained, state(network))
    found = changed(plain, {k.removeprefix("network."): v for k, v in state(tail).items() if k.startswith("network.")})
    assert {name.split(".")[2] for name in found if ".blocks." in name} == {str(i) for i in range(tail.cut, 7)}
    assert found == set(course.trained.tensors)
    assert found >= {"body.conv_head.weight", "body.conv_head.bias"}
    assert all(np.array_equal(course.trained.tensors[name], state(tail.network)[name]) for name in found)


def test_norms_change_factors_and_biases_only(network: Any, photo_maps: Maps) -> None:
    tail = tail_of(network, photo_maps, "norms")
    before = state(tail.network)
    course = train(tail, lesson(photo_maps, np.arange(2), NOBODY), replace(RECIPE, epochs=1))
    after = state(tail.network)
    found = changed(before, after)
    assert {name.rsplit(".", 1)[-1] for name in found} == {"factor", "bias"}
    assert len(found) == 2 * sum(name.endswith(".factor") for name in before)
    for name in (name for name in before if name.endswith(".factor")):
        weight = name.removesuffix("factor") + "weight"
        assert np.array_equal(course.trained.tensors[weight], after[weight] * after[name])
        assert np.array_equal(course.trained.tensors[name.removesuffix("factor") + "bias"], after[weight[:-6] + "bias"])


def test_everything_on_four_pictures(network: Any, photo_maps: Maps) -> None:
    tail = tail_of(network, photo_maps, "all")
    course = train(tail, lesson(photo_maps, np.arange(4), np.arange(4, 6)), replace(RECIPE, epochs=1, batch=4))
    assert set(course.trained.tensors) == {name for name in state(folded(network)) if "classifier" not in name}
    plain = state(folded(network))
    assert all(not np.array_equal(value, plain[name]) for name, value in course.trained.tensors.items())
    assert np.isfinite(course.logits).all()


def test_scratch_gathers_statistics_and_ends_without_held_rows(network: Any, photo_maps: Maps) -> None:
    tail = tail_of(network, photo_maps, "scratch")
    start = state(trainable(network, "scratch"))
    recipe = replace(RECIPE, epochs=1, batch=2)
    course = train(tail, lesson(photo_maps, np.arange(4), NOBODY), recipe)
    found = changed(start, state(tail.network))
    assert any(name.endswith("running_mean") for name in found)
    assert course.blend is None
    assert course.logits.shape == (1, 0, 5)
    assert course.steps == 2
    assert all(np.isfinite(value).all() for value in course.trained.tensors.values())


def test_the_seed_decides(network: Any, photo_maps: Maps) -> None:
    first, again, other = (
        train(tail_of(network, photo_maps), lesson(photo_maps), replace(RECIPE, seed=seed)) for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)


def test_held_rows_do_not_change_what_is_learned(network: Any, photo_maps: Maps) -> None:
    watched = train(tail_of(network, photo_maps), lesson(photo_maps), RECIPE)
    alone = train(tail_of(network, photo_maps), lesson(photo_maps, held=NOBODY), RECIPE)
    assert same(watched, replace(alone, logits=watched.logits))


def test_a_blend_ends_halfway(network: Any, photo_maps: Maps) -> None:
    start = tail_of(network, photo_maps)
    whole = train(end := tail_of(network, photo_maps), lesson(photo_maps), RECIPE)
    course = train(half := tail_of(network, photo_maps), lesson(photo_maps), replace(RECIPE, blend=True))
    for name, value in state(half).items():
        np.testing.assert_allclose(value, (state(start)[name] + state(end)[name]) / 2, atol=1e-6)
    assert whole.blend is not None
    assert np.array_equal(whole.logits, course.logits)
    np.testing.assert_allclose(logits_of(half, photo_maps, HELD), whole.blend, atol=1e-6)
    assert not np.allclose(whole.blend, whole.logits[-1], atol=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_precision_is_only_a_matter_of_rounding(network: Any, photo_maps: Maps, precision: str) -> None:
    exact = train(tail_of(network, photo_maps), lesson(photo_maps), replace(RECIPE, precision="fp32"))
    course = train(tail_of(network, photo_maps), lesson(photo_maps), replace(RECIPE, precision=precision))
    start = logits_of(tail_of(network, photo_maps), photo_maps, HELD)
    moved = np.abs(exact.logits[-1] - start).mean()
    assert np.abs(course.logits[-1] - exact.logits[-1]).mean() < 0.3 * moved
    assert same(course, exact) == (precision == "fp32")


@pytest.mark.parametrize(("n", "batch", "sizes"), [(10, 4, [3, 3, 4]), (9, 8, [4, 5]), (13, 3, [2, 2, 3, 3, 3])])
def test_every_row_once_an_epoch_in_even_batches(
    network: Any, photo_maps: Maps, n: int, batch: int, sizes: list[int]
) -> None:
    maps = photo_maps.reading((7,))
    course = train(tail_of(network, maps), lesson(maps, np.arange(n), NOBODY), replace(RECIPE, epochs=1, batch=batch))
    assert sorted(maps.asked) == sizes
    assert course.steps == len(sizes)


@pytest.mark.parametrize(("amount", "most"), [("all", 8), ("norms", 8), ("last-1", 15), ("scratch", 15)])
def test_a_whole_network_learns_from_few_pictures_at_once(
    network: Any, photo_maps: Maps, amount: str, most: int
) -> None:
    seen = photo_maps.reading(photo_maps.depths)
    recipe = replace(RECIPE, batch=16)
    course = train(tail_of(network, photo_maps, amount), lesson(seen, np.arange(15), NOBODY), recipe)
    assert max(seen.asked) == most and sum(seen.asked) == 15 * RECIPE.epochs
    assert course.steps == RECIPE.epochs, "a step is still a batch"


@pytest.mark.parametrize(("n", "most", "sizes"), [(13, 8, [7, 6]), (16, 8, [8, 8]), (17, 8, [6, 6, 5]), (5, 8, [5])])
def test_parts_of_a_batch_are_even(n: int, most: int, sizes: list[int]) -> None:
    size = even_part(n, most)
    assert [min(size, n - at) for at in range(0, n, size)] == sizes


def test_a_whole_network_judges_few_pictures_at_once(network: Any, photo_maps: Maps) -> None:
    """The same answers as from batches twice as large, which later stages take."""
    found, sizes = [], []
    for amount in ("all", "last-1"):
        seen = photo_maps.reading(photo_maps.depths)
        found.append(logits_of(tail_of(network, photo_maps, amount), seen, np.arange(15)))
        sizes.append(seen.asked)
    assert sizes == [[8, 7], [15]]
    np.testing.assert_allclose(found[0], found[1], atol=0.02 * np.abs(found[1]).max())


def test_gradients_of_parts_add_up_to_that_of_the_batch(
    network: Any, photo_maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, precision="fp32", learning_rate=1e-3)
    found = []
    for at_once in (4, 8):
        monkeypatch.setattr(loop, "WHOLE_AT_ONCE", at_once)
        seen = photo_maps.reading(photo_maps.depths)
        found.append(train(tail_of(network, photo_maps, "all"), lesson(seen), recipe))
        assert max(seen.asked[:2]) <= at_once
    parts, whole = found
    np.testing.assert_allclose(parts.logits[0], whole.logits[0], atol=1e-3)
    moved = np.abs(whole.logits[0] - tail_logits(network, photo_maps)).max()
    assert moved > 0.02, "and it does move"


def test_what_was_trained_outlives_what_training_further_would_need(network: Any, photo_maps: Maps) -> None:
    training = Training(tail_of(network, photo_maps), lesson(photo_maps), RECIPE)
    trained = training.further(RECIPE.epochs).trained
    assert training.epochs == RECIPE.epochs
    training.release()
    after = training.tail.trained()
    assert all(np.array_equal(after.tensors[name], trained.tensors[name]) for name in trained.tensors)
    assert np.array_equal(after.head.weights, trained.head.weights)


def test_short_memory_halves_the_batch_not_the_steps(network: Any, photo_maps: Maps) -> None:
    recipe = replace(RECIPE, precision="fp32", epochs=1)
    free = train(tail_of(network, photo_maps), lesson(photo_maps, np.arange(14), HELD), recipe)
    tail = tail_of(network, photo_maps)
    stage = short_of_memory(tail, limit=4)
    course = train(tail, lesson(photo_maps, np.arange(14), HELD), recipe)
    assert course.steps == free.steps == 2
    # 7 do not fit: 3 + 3 + 1, twice; then the five held pictures, twice (an epoch and the blend), in parts of two
    assert stage.sizes == [3, 3, 1, 3, 3, 1, 2, 2, 1, 2, 2, 1]
    np.testing.assert_allclose(course.logits, free.logits, atol=0.02 * np.abs(free.logits).max())


def test_parts_before_a_failure_are_not_counted_twice(network: Any, photo_maps: Maps) -> None:
    gradients = []
    for limit in (16, 4):
        tail = tail_of(network, photo_maps)
        stage = short_of_memory(tail, limit)
        # 7 do not fit, the first 3 do, then the memory is gone: once more, one by one
        stage.register_forward_hook(lambda s, *_: setattr(s, "limit", s.limit if s.limit == 16 else 1))
        train(tail, lesson(photo_maps, np.arange(7), NOBODY), replace(RECIPE, precision="fp32", epochs=1))
        gradients.append(tail.head.weight.grad.numpy().copy())
    assert stage.sizes == [3, 1, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(gradients[1], gradients[0], atol=1e-3 * np.abs(gradients[0]).max())


def test_not_even_one_fits(network: Any, photo_maps: Maps) -> None:
    tail = tail_of(network, photo_maps)
    short_of_memory(tail, limit=0)
    with pytest.raises(MemoryError):
        train(tail, lesson(photo_maps), RECIPE)
    with pytest.raises(MemoryError):
        logits_of(tail, photo_maps, HELD)


def test_other_errors_are_not_called_memory(network: Any, photo_maps: Maps) -> None:
    tail = tail_of(network, photo_maps)
    short_of_memory(tail, 0, "mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1"):
        train(tail, lesson(photo_maps), RECIPE)
    with pytest.raises(RuntimeError, match="mat1"):
        logits_of(tail, photo_maps, HELD)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError(OTHER_MEMORY), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("the size of tensor a (3) must match"), False),
        (ValueError("no"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) == expected


@pytest.mark.parametrize("when", ["loss", "gradient"])
def test_numbers_that_are_none_end_it(network: Any, photo_maps: Maps, when: str) -> None:
    tail = tail_of(network, photo_maps)
    if when == "loss":
        with torch.no_grad():
            tail.head.bias[0] = float("nan")
    else:
        tail.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = state(tail)
    with pytest.raises(DivergedError):
        train(tail, lesson(photo_maps, held=NOBODY), replace(RECIPE, epochs=1, batch=16))  # its first step is its last
    assert np.array_equal(before["network.body.conv_head.weight"], state(tail)["network.body.conv_head.weight"])


def test_three_pictures_and_a_class_of_one(network: Any, photo_maps: Maps) -> None:
    labels = np.array([0, 0, 4])
    course = train(
        tail_of(network, photo_maps), Lesson(photo_maps, labels, np.arange(3), np.arange(1)), replace(RECIPE, batch=32)
    )
    assert np.isfinite(course.logits).all()
    assert course.steps == 2


def test_one_picture(network: Any, photo_maps: Maps) -> None:
    course = train(tail_of(network, photo_maps), lesson(photo_maps, np.array([3]), NOBODY), RECIPE)
    assert course.steps == 2
    assert logits_of(tail_of(network, photo_maps), photo_maps, NOBODY).shape == (0, 5)


def test_a_training_that_goes_on_is_one_that_was_longer_from_the_start(network: Any, photo_maps: Maps) -> None:
    whole = train(tail_of(network, photo_maps), lesson(photo_maps), replace(RECIPE, epochs=3))
    tail = tail_of(network, photo_maps)
    training = Training(tail, lesson(photo_maps), RECIPE)
    first = training.further(2)
    assert first.logits.shape[0] == 2 and first.blend is not None
    np.testing.assert_array_equal(logits_of(tail, photo_maps, HELD), first.logits[-1])
    course = training.further(1)
    assert same(course, whole) and (course.steps, len(course.seconds)) == (whole.steps, 3)
    assert (np.diff(course.seconds) > 0).all() and not tail.training
    np.testing.assert_array_equal(logits_of(tail, photo_maps, HELD), course.logits[-1])


def test_what_goes_wrong_later_leaves_what_was_learned_before(
    network: Any, photo_maps: Maps, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = tail_of(network, photo_maps)
    training = Training(tail, lesson(photo_maps), RECIPE)
    first, before = training.further(2), state(tail)
    loss = Training._loss

    def broken(self: Training, *batch: np.ndarray) -> torch.Tensor:
        return loss(self, *batch) * (float("nan") if self.steps > 4 else 1.0)

    monkeypatch.setattr(Training, "_loss", broken)
    with pytest.raises(DivergedError):
        training.further(2)
    assert training.steps > first.steps, "some of it was trained"
    assert not changed(before, state(tail)) and not tail.training
