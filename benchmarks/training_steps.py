"""One process of training_speed.py: pictures per second of every case, once, as JSON on stdout.

    python benchmarks/training_steps.py left|kept [SHARE]

"kept": with heap.keep_memory, which cannot be undone, hence a process of its own. SHARE scales how many
batches a case takes. Every case first runs once unmeasured.
"""

import json
import sys
import time
from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from training_speed import AMOUNTS, BATCH, BATCHES, KEPT, LADDER, PRECISIONS

from headstart.backbone.backbone import open_backbone
from headstart.backbone.folding import folded
from headstart.engine.openvino import OpenVinoEngine
from headstart.finetune.depthwise import Depthwise, replaceable
from headstart.finetune.loop import Lesson, autocast, train
from headstart.finetune.schedule import Recipe
from headstart.finetune.tail import Tail, cut_of
from headstart.finetune.trainable import trainable
from headstart.head.linear import LinearHead
from headstart.heap import keep_memory

CLASSES, DISTINCT = 10, 64
STEPS = {"last-1": 12, "last-2": 5, "last-3": 3, "last-4": 2}  # a measurement of last-1 would be 20 ms; 1 elsewhere


def main(memory, share):
    if memory == "kept" and not keep_memory():
        raise SystemExit("memory cannot be kept here: glibc only")
    backbone = open_backbone()
    network = backbone.torch_module()
    cached = Cached(network)
    if memory == "left":
        show("frozen engine", rate=engine_rate(backbone, cached.maps[0], share))
    ladders = LADDER if memory == "left" else (KEPT,)
    for amount in ("all", "last-2"):
        for step in ladders:
            rate = loop_rate(*variant(network, amount, step), cached, amount, share)
            show("ladder", amount=amount, step=step, batch=BATCH, rate=rate)
    for amount in AMOUNTS[memory]:
        for precision in PRECISIONS:
            for batch in BATCHES:
                rate = our_rate(network, cached, amount, precision, batch, share)
                show("ours", amount=amount, precision=precision, batch=batch, rate=rate)


def show(case, **figures):
    print(json.dumps({"case": case, **figures}), flush=True)


class Cached:
    """Activations of 64 pictures at every cut, float16 in memory as the cut cache holds them; rows repeat."""

    def __init__(self, network):
        coarse = np.random.default_rng(0).integers(0, 256, (DISTINCT, 28, 28, 3), dtype=np.uint8)
        self.maps = [coarse.repeat(8, axis=1).repeat(8, axis=2)]
        with torch.inference_mode():
            x = network.scaled(torch.from_numpy(self.maps[0]))
            for stage in network.stages():
                x = stage(x)
                self.maps.append(np.ascontiguousarray(x.permute(0, 2, 3, 1).half().numpy()))

    def batch(self, cut, rows, views_of_rows):
        return np.take(self.maps[cut], rows % DISTINCT, axis=0), np.zeros((len(rows), 0), np.float16)

    def views(self, cut):
        return (None,)


def engine_rate(backbone, pixels, share):
    """The frozen pass, all depths, in fp32: what a new head costs."""
    engine = OpenVinoEngine(backbone.graph())
    batches = [pixels[at : at + engine.batch] for at in range(0, DISTINCT, engine.batch)] * max(1, round(4 * share))
    for count in (batches[:4], batches):
        begin = time.perf_counter()
        for _ in engine.stream((None, batch) for batch in count):
            pass
        seconds = time.perf_counter() - begin
    return sum(map(len, batches)) / seconds


def our_rate(network, cached, amount, precision, batch, share):
    """headstart's own loop with everything in it: reading, AdamW, clipping, averaging."""
    dim = cached.maps[-1].shape[-1]
    weights = np.random.default_rng(1).normal(0, 0.01, (CLASSES, dim))
    tail = Tail(network, amount, (7,), LinearHead(weights, np.zeros(CLASSES), np.zeros(dim), np.ones(dim)))
    n = batch * steps_of(amount, share)
    lesson = Lesson(cached, np.arange(n) % CLASSES, np.arange(n), np.arange(0))
    course = train(tail, lesson, Recipe(learning_rate=1e-3, epochs=2, batch=batch, precision=precision))
    return n / (course.seconds[1] - course.seconds[0])


def steps_of(amount, share):
    return max(1, round(STEPS.get(amount, 1) * share))


def variant(network, amount, step):
    """The network with what was bought up to `step`, and the precision it is trained in."""
    reached = [*LADDER, KEPT].index(step)
    precision = "bf16" if reached >= LADDER.index("bf16") else "fp32"
    if reached >= LADDER.index("relu6 in place"):
        return trainable(network, amount), precision
    body = deepcopy(network) if step == "plain" else folded(network)
    if step == "our depthwise backward":
        replace_depthwise(body)
    return body.eval().to(memory_format=torch.channels_last), precision


def replace_depthwise(module):
    for name, child in list(module.named_children()):
        if replaceable(child):
            setattr(module, name, Depthwise(child))
        else:
            replace_depthwise(child)


def loop_rate(network, precision, cached, amount, share):
    """The usual loop: a linear head, cross-entropy, SGD with momentum, BatchNorm in evaluation mode."""
    cut = cut_of(amount, len(network.stages()))
    stages, head = network.stages()[cut:], nn.Linear(cached.maps[-1].shape[-1], CLASSES)
    parameters = [p for part in (*stages, head) for p in part.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)
    target = torch.arange(BATCH) % CLASSES
    steps = steps_of(amount, share)
    for _ in range(2):  # the first time is not measured
        begin = time.perf_counter()
        for k in range(steps):
            maps, _ = cached.batch(cut, np.arange(k * BATCH, (k + 1) * BATCH), None)
            maps = torch.from_numpy(maps)
            with autocast(precision):
                x = network.scaled(maps) if cut == 0 else maps.permute(0, 3, 1, 2).float()
                for stage in stages:
                    x = stage(x)
                logits = head(x.mean((2, 3)))
            functional.cross_entropy(logits.float(), target).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - begin
    return steps * BATCH / seconds


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
