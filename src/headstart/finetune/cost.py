"""What training would cost, measured on one batch before any is started, and which precision is the faster one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from headstart.backbone.network import Network
from headstart.finetune.adam import Adam
from headstart.finetune.loop import autocast, judged_at_once, trained_at_once
from headstart.finetune.tail import Tail, cut_of
from headstart.finetune.together import PIXELS
from headstart.head.linear import LinearHead

STEPS, MOST_STEPS = 2, 5
SURELY = 1.1  # times that float32 must be faster: a run and its continuation should agree
ENOUGH = 0.5  # seconds: short steps are repeated, the first ones are slower


@dataclass(frozen=True)
class TrainingCost:
    """Seconds per picture: one training step with the faster `precision`, one judgement in fp32."""

    train: float
    judge: float
    precision: str


@dataclass(frozen=True)
class Shapes:
    """What a tail reads, and where: `side` of the pixels, `maps` (h, w, c) by cut, `dims` of all depths.

    `precisions` to compare; the first is preferred. `batch`: pictures of a step; few of them take longer each.
    """

    side: int
    maps: dict[int, tuple[int, int, int]]
    dims: tuple[int, ...]
    device: str = "cpu"
    precisions: tuple[str, ...] = ("bf16", "fp32")
    batch: int = 16


def measure_training(
    network: Network, train: str, depths: tuple[int, ...], shapes: Shapes, n_classes: int
) -> TrainingCost:
    """Time a few steps of made-up pictures in `shapes.precisions`; some 0.4 s for the last stage, 2 s for all.

    RuntimeError or MemoryError when even that does not fit into memory.
    """
    width = sum(shapes.dims[d] for d in depths)
    head = LinearHead(np.zeros((n_classes, width)), np.zeros(n_classes), np.zeros(width), np.ones(width))
    tail = Tail(network, train, depths, head).to(shapes.device)
    maps, vectors = (made.to(shapes.device) for made in _inputs(train, depths, shapes))
    target = (torch.arange(shapes.batch) % n_classes).to(shapes.device)
    tail.eval()
    judge = min(_judge(tail, maps, vectors) for _ in range(STEPS))
    tail.train(train == "scratch")  # statistics of its own cost more than folded ones
    seconds = {precision: _step(tail, maps, vectors, target, precision) for precision in shapes.precisions}
    first = shapes.precisions[0]
    precision = min(seconds, key=lambda p: seconds[p] * (1.0 if p == first else SURELY))
    return TrainingCost(seconds[precision] / shapes.batch, judge / shapes.batch, precision)


def _judge(tail: Tail, maps: torch.Tensor, vectors: torch.Tensor) -> float:
    begin = time.perf_counter()
    with torch.inference_mode():
        for part in torch.arange(len(maps)).split(judged_at_once(tail)):
            tail(maps[part], vectors[part]).cpu()  # waits for an accelerator
    return time.perf_counter() - begin


def _step(tail: Tail, maps: torch.Tensor, vectors: torch.Tensor, target: torch.Tensor, precision: str) -> float:
    """Seconds of the fastest of a few steps; the first is slower and tells whether more are worth it."""
    found: list[float] = []
    trained = [p for p in tail.parameters() if p.requires_grad]
    optimizer = Adam([(parameter, 0.0) for parameter in trained])  # as in `loop`; at this rate nothing moves
    while len(found) < STEPS or (len(found) < MOST_STEPS and sum(found) < ENOUGH):
        begin = time.perf_counter()
        for part in torch.arange(len(maps)).split(trained_at_once(tail, len(maps))):
            with autocast(precision, tail.device.type):
                logits = tail(maps[part], vectors[part])
            functional.cross_entropy(logits.float(), target[part]).backward()
        optimizer.step()
        torch.zeros(1, device=tail.device).cpu()  # waits for an accelerator
        tail.zero_grad(set_to_none=True)
        found.append(time.perf_counter() - begin)
    return min(found)


def _inputs(train: str, depths: Sequence[int], shapes: Shapes) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    cut = cut_of(train, len(shapes.dims))
    below = sum(shapes.dims[d] for d in depths if d < cut)
    vectors = torch.from_numpy(rng.normal(size=(shapes.batch, below)).astype(np.float16))
    if cut == PIXELS:
        return torch.from_numpy(
            rng.integers(0, 256, (shapes.batch, shapes.side, shapes.side, 3), dtype=np.uint8)
        ), vectors
    return torch.from_numpy(rng.normal(size=(shapes.batch, *shapes.maps[cut])).astype(np.float16)), vectors
