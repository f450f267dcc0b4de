"""Rates follow the size of a tensor and its stage; averaging reads along without changing anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.finetune.schedule import (
    LEAST_SIZE,
    Average,
    Recipe,
    average_decay,
    full_rates,
    share_of_rate,
)
from headstart.finetune.tail import Tail
from lessons import Maps

RECIPE = Recipe(learning_rate=0.1, epochs=2, layer_decay=0.5)


def test_the_rate_rises_over_the_warm_up_and_stays() -> None:
    assert [share_of_rate(step, 4, RECIPE) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert share_of_rate(0, 1, RECIPE) == 1
    assert [share_of_rate(step, 4, replace(RECIPE, warm_up=0)) for step in (0, 5)] == [1, 1]


def test_the_average_forgets_the_start_and_looks_back_two_epochs_at_most() -> None:
    decays = [average_decay(step, 5) for step in range(1, 200)]
    assert decays[0] == pytest.approx(0.2)
    assert decays == sorted(decays)
    assert decays[-1] == pytest.approx(1 - 1 / 11)
    start = float(np.prod(decays[:20]))  # what is left of the weights from before training, after four epochs
    assert start < 0.02


def test_a_rate_is_a_share_of_the_tensors_size_and_decays_from_the_head_down(network: Any, photo_maps: Maps) -> None:
    tail = Tail(network, "last-2", (7,), photo_maps.head(5))
    with torch.no_grad():
        tail.head.bias.zero_()
    rates = {id(parameter): rate for parameter, rate in full_rates(tail, RECIPE)}
    trained = {name: p for name, p in tail.named_parameters() if p.requires_grad}
    assert len(rates) == len(trained)
    assert rates[id(tail.head.bias)] == pytest.approx(0.1 * LEAST_SIZE)
    for name, below in [("head.weight", 0), ("network.body.conv_head.weight", 1)]:
        size = float(trained[name].detach().square().mean().sqrt())
        assert rates[id(trained[name])] == pytest.approx(0.1 * size * 0.5**below)
    for name, parameter in trained.items():
        if name.startswith("network.body.blocks.5"):
            size = max(LEAST_SIZE, float(parameter.detach().square().mean().sqrt()))
            assert rates[id(parameter)] == pytest.approx(0.1 * size * 0.5**3)


def state(module: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in module.parameters()]


def test_swapping_twice_changes_nothing_and_once_gives_the_mean() -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    start = state(module)
    average = Average(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    average.update(0.75)
    moved = state(module)
    average.swap()
    for mean, before in zip(state(module), start, strict=True):
        np.testing.assert_allclose(mean, before + 0.25, rtol=1e-6)
    average.swap()
    assert all(np.array_equal(a, b) for a, b in zip(state(module), moved, strict=True))
    average.update(0.0)
    average.swap()
    assert all(np.array_equal(a, b) for a, b in zip(state(module), moved, strict=True))


def test_what_is_not_trained_is_not_averaged() -> None:
    module = nn.Linear(3, 2)
    module.weight.requires_grad_(False)
    average = Average(module)
    with torch.no_grad():
        module.weight.fill_(5)
    average.swap()
    assert (module.weight == 5).all()
