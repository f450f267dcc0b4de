"""A tail starts exactly as the head on the frozen network, and says which of its weights may have changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone.folding import folded
from headstart.finetune.tail import Tail, cut_of
from lessons import Maps

AMOUNTS = ["last-1", "last-2", "last-3", "last-4", "last-5", "last-6", "all"]


def logits(tail: Tail, maps: Maps, rows: int = 4) -> np.ndarray:
    inputs = maps.batch(tail.cut, np.arange(rows), np.zeros(rows, int))
    with torch.inference_mode():
        return tail(*map(torch.from_numpy, inputs)).numpy()


@pytest.mark.parametrize(
    ("train", "cut"), [("last-1", 6), ("last-2", 5), ("last-6", 1), ("last-7", 0), ("last-9", 0), ("all", 0)]
)
def test_where_training_starts(train: str, cut: int) -> None:
    assert cut_of(train, 8) == cut


def test_norms_and_scratch_read_pixels() -> None:
    assert cut_of("norms", 8) == cut_of("scratch", 8) == 0


@pytest.mark.parametrize("train", AMOUNTS)
def test_before_any_training_it_answers_as_the_head_on_the_embeddings(
    network: Any, photo_maps: Maps, train: str
) -> None:
    maps = photo_maps.reading((2, 5, 7))
    head = maps.head(5)
    expected = head.logits(maps.embeddings)[:4]
    found = logits(Tail(network, train, maps.depths, head), maps)
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_norms_start_exactly_too(network: Any, photo_maps: Maps) -> None:
    head = photo_maps.head(5)
    found = logits(Tail(network, "norms", (7,), head), photo_maps, 2)
    np.testing.assert_allclose(found, head.logits(photo_maps.embeddings)[:2], atol=1e-3)


def test_cached_float16_is_as_good(network: Any, photo_maps: Maps) -> None:
    head = photo_maps.head(5)
    tail = Tail(network, "last-2", (7,), head)
    with torch.inference_mode():
        found = tail(torch.from_numpy(photo_maps.maps[5].astype(np.float16)), torch.zeros(15, 0, dtype=torch.float16))
    expected = head.logits(photo_maps.embeddings)
    assert np.abs(found.numpy() - expected).max() < 0.01 * expected.std()


@pytest.mark.parametrize("train", ["last-1", "last-3", "all", "norms", "scratch"])
def test_only_what_is_asked_for_can_be_trained(network: Any, photo_maps: Maps, train: str) -> None:
    tail = Tail(network, train, (7,), photo_maps.head(5))
    trained = {name for name, parameter in tail.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if name.startswith("head.")} == {"head.weight", "head.bias"}
    assert not any("classifier" in name for name in trained)
    below = {int(name.split(".")[3]) for name in trained if ".blocks." in name}
    assert below == set(range(tail.cut, 7))
    assert ("network.body.conv_stem.bias" in trained) == (train in ("all", "norms"))
    ends = {name.rsplit(".", 1)[-1] for name in trained if not name.startswith("head.")}
    assert ends == ({"factor", "bias"} if train == "norms" else {"weight", "bias"})


@pytest.mark.parametrize("train", ["last-1", "last-2", "all", "norms", "scratch"])
def test_trained_names_what_may_have_changed_and_the_head_comes_back(
    network: Any, photo_maps: Maps, train: str
) -> None:
    head = photo_maps.head(5)
    trained = Tail(network, train, (7,), head).trained()
    plain = {name: value.numpy() for name, value in folded(network).state_dict().items()}
    fresh = {name for name, value in trained.tensors.items() if not np.array_equal(value, plain[name])}
    stages = {name.split(".")[2] for name in trained.tensors if ".blocks." in name}
    assert stages == {str(i) for i in range(cut_of(train, 8), 7)}
    assert ("body.conv_stem.weight" in trained.tensors) == (not train.startswith("last"))
    assert not any("classifier" in name for name in trained.tensors)
    assert bool(fresh) == (train == "scratch")
    np.testing.assert_allclose(
        trained.head.logits(photo_maps.embeddings), head.logits(photo_maps.embeddings), atol=1e-4
    )


def test_trained_is_a_copy(network: Any, photo_maps: Maps) -> None:
    tail = Tail(network, "last-1", (7,), photo_maps.head(5))
    trained = tail.trained()
    before = {name: value.copy() for name, value in trained.tensors.items()}
    weights = trained.head.weights.copy()
    with torch.no_grad():
        for parameter in tail.parameters():
            parameter.add_(1)
    assert all(np.array_equal(before[name], value) for name, value in trained.tensors.items())
    assert np.array_equal(trained.head.weights, weights)


def test_stage_of_a_parameter(network: Any, photo_maps: Maps) -> None:
    tail = Tail(network, "last-1", (7,), photo_maps.head(5))
    found = {tail.stage_of(name) for name, p in tail.named_parameters() if p.requires_grad and "blocks" in name}
    assert found == {6}
    assert tail.stage_of("network.body.conv_head.weight") == 7
    assert tail.stage_of("head.weight") == 8


def test_stages_behind_the_deepest_depth_are_not_run(network: Any, photo_maps: Maps) -> None:
    maps = photo_maps.reading((6,))
    tail = Tail(network, "last-1", (6,), maps.head(5))
    seen: list[int] = []
    tail.stages()[-1].register_forward_hook(lambda *_: seen.append(1))
    tail.network.body.conv_head.register_forward_hook(lambda *_: seen.append(1))
    np.testing.assert_allclose(logits(tail, maps), maps.head(5).logits(maps.embeddings)[:4], atol=1e-3)
    assert not seen
