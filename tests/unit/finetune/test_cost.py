"""The predicted cost follows from what was measured, and more training costs more."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from headstart.finetune import cost
from headstart.finetune.cost import Shapes, measure_training
from headstart.finetune.tail import Tail
from lessons import Maps

BATCH = 6


def shapes(maps: Maps) -> Shapes:
    dims = tuple(pooled.shape[1] for pooled in maps.pooled)
    return Shapes(maps.pixels.shape[1], {cut: maps.maps[cut].shape[1:] for cut in range(1, 8)}, dims, batch=BATCH)


@pytest.mark.slow
def test_more_training_costs_more(network: Any, photo_maps: Maps) -> None:
    """What lies far apart only: the tests beside this one share the cores, and a single step may be held up."""
    last, whole = (measure_training(network, train, (2, 7), shapes(photo_maps), 5) for train in ("last-1", "all"))
    for found in (last, whole):
        assert found.precision in ("bf16", "fp32")
        assert found.judge > 0
        assert found.train > 0
    assert last.train < whole.train
    assert last.judge < whole.judge
    assert whole.judge < whole.train


@pytest.mark.parametrize("faster", ["bf16", "fp32"])
def test_the_faster_precision_is_taken(
    network: Any, photo_maps: Maps, monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    def step(tail: Tail, maps: torch.Tensor, vectors: torch.Tensor, target: torch.Tensor, precision: str) -> float:
        assert len(maps) == len(vectors) == len(target) == BATCH
        return 1.0 if precision == faster else 2.0

    monkeypatch.setattr(cost, "_step", step)
    found = measure_training(network, "last-1", (7,), shapes(photo_maps), 3)
    assert (found.precision, found.train) == (faster, 1.0 / BATCH)


@pytest.mark.parametrize("train", ["scratch", "norms"])
def test_pixels_are_read_in_the_mode_that_trains(
    network: Any, photo_maps: Maps, monkeypatch: pytest.MonkeyPatch, train: str
) -> None:
    seen: list[tuple[torch.dtype, tuple[int, ...], bool]] = []

    def step(tail: Tail, maps: torch.Tensor, *_: object) -> float:
        seen.append((maps.dtype, tuple(maps.shape), tail.training))
        return 1.0

    monkeypatch.setattr(cost, "_step", step)
    monkeypatch.setattr(cost, "_judge", lambda *_: 1.0)
    measure_training(network, train, (7,), shapes(photo_maps), 3)
    assert seen == [(torch.uint8, (BATCH, 224, 224, 3), train == "scratch")] * 2


def test_no_memory_is_told(network: Any, photo_maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(Tail, "forward", refuse)
    with pytest.raises(MemoryError):
        measure_training(network, "last-1", (7,), shapes(photo_maps), 3)
