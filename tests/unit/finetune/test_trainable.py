"""What is made for training computes the same function, and comes back under the names of the exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbone.folding import folded
from headstart.backbone.network import Network
from headstart.finetune.depthwise import Depthwise
from headstart.finetune.sparing import Scaled
from headstart.finetune.trainable import tensors_of, trainable
from lessons import Maps


def state(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def move(network: nn.Module, names: tuple[str, ...]) -> None:
    """Change every parameter whose name ends so by a few per cent, each channel differently."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.rsplit(".", 1)[-1] in names:
                parameter *= 1 + 0.03 * torch.randn(parameter.shape, generator=generator)


def outputs(network: Network, maps: Maps, rows: int = 2) -> list[np.ndarray]:
    with torch.inference_mode():
        return [y.numpy() for y in network(torch.from_numpy(maps.pixels[:rows]))]


def close(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.abs(a - b).max() <= 1e-4 * np.abs(b).max() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("train", ["all", "last-2", "norms"])
def test_the_same_function_as_before(network: Any, photo_maps: Maps, train: str) -> None:
    ours = trainable(network, train)
    assert close(outputs(ours, photo_maps), outputs(network, photo_maps))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())
    assert any(isinstance(module, Depthwise) for module in ours.modules()) == (train != "norms")
    assert any(isinstance(module, Scaled) for module in ours.modules()) == (train == "norms")


@pytest.mark.parametrize(("train", "names"), [("all", ("weight", "bias")), ("norms", ("factor", "bias"))])
def test_tensors_in_a_folded_network_are_the_trained_one(
    network: Any, photo_maps: Maps, train: str, names: tuple[str, ...]
) -> None:
    ours = trainable(network, train)
    move(ours, names)
    plain = folded(network)
    plain.load_state_dict(tensors_of(ours), strict=True)
    assert close(outputs(plain, photo_maps), outputs(ours, photo_maps))
    assert not close(outputs(plain, photo_maps), outputs(network, photo_maps))


def test_tensors_from_scratch_fold_the_statistics_that_were_gathered(network: Any, photo_maps: Maps) -> None:
    ours = trainable(network, "scratch", seed=3)
    ours.train()
    ours(torch.from_numpy(photo_maps.pixels[:3]))  # gathers statistics; still in training mode when folded
    plain = folded(network)
    plain.load_state_dict(tensors_of(ours), strict=True)
    assert ours.training
    ours.eval()
    assert close(outputs(plain, photo_maps), outputs(ours, photo_maps))


def test_the_given_network_is_left_alone(network: Any) -> None:
    before = state(network)
    for train in ("all", "norms", "scratch"):
        ours = trainable(network, train)
        move(ours, ("weight", "bias", "factor"))
    after = state(network)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_scratch_depends_on_the_seed_and_on_nothing_pretrained(network: Any) -> None:
    first, again, other = (state(trainable(network, "scratch", seed=seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    kernels = [name for name in first if first[name].ndim == 4]
    pretrained = state(network)
    assert len(kernels) > 40
    assert not any(np.array_equal(first[name], other[name]) for name in kernels)
    assert not any(np.array_equal(first[name], pretrained[name]) for name in kernels)
    norms = [name for name in first if name.endswith("running_var")]
    assert all((first[name] == 1).all() for name in norms)
    assert all((first[name.replace("running_var", "weight")] == 1).all() for name in norms)
    assert all((first[name.replace("running_var", "bias")] == 0).all() for name in norms)


def test_scratch_keeps_the_scale_of_what_passes_through(network: Any, photo_maps: Maps) -> None:
    ours = trainable(network, "scratch")
    ours.train()
    with torch.no_grad():
        last = ours(torch.from_numpy(photo_maps.pixels[:4]))[-2]
    assert 0.1 < float(last.mean()) < 2
