"""One process of architectures.py: one network with random weights, exported, compared and timed, as JSON on stdout.

    python benchmarks/architecture_steps.py NAME FOLDER [SECONDS] [ROUNDS]

NAME: a timm model, or torchvision/NAME. FOLDER: for the weights file and the cache. SECONDS: of every measurement.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
import torch

from headstart.backbone.graph import check, onnx_bytes
from headstart.backbone.network import load_network
from headstart.backbone.sources import find_source
from headstart.engine.choose import measure
from headstart.engine.openvino import OpenVinoEngine
from headstart.engine.torch import TorchEngine

NOISE = 0.02  # on every parameter: layers that start at zero would hide what is computed wrongly behind them
RIVALS = ("eager", "channels_last", "engine")


def main(name, folder, seconds=0.5, rounds=3):
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "random.safetensors"
    safetensors.torch.save_file({k: v.contiguous() for k, v in randomised(made(name)).state_dict().items()}, file)
    begin = time.perf_counter()
    source = find_source(f"{name}@{file}", folder / "cache")
    network = load_network(source, folder / "cache")
    shape = source.shape
    show(opened=time.perf_counter() - begin, side=shape.side, parameters=shape.parameters, depths=len(shape.depths))
    begin = time.perf_counter()
    graph = onnx_bytes(network, {})
    show(exported=time.perf_counter() - begin, exporter=exporter(graph), cut=shape.plan.kind)
    begin = time.perf_counter()
    check(graph, network)  # of the product: batches of 1, 2 and 7, every depth
    show(checked=time.perf_counter() - begin)
    engine = OpenVinoEngine(graph)
    show(difference=difference(engine, network))
    channels_last = TorchEngine(lambda: load_network(source, folder / "cache"))
    rivals = dict(zip(RIVALS, (Eager(network), channels_last, engine), strict=True))
    show(batches={which: rival.batch for which, rival in rivals.items()})
    for _ in range(rounds):
        show(round={which: measure(rival, seconds) for which, rival in rivals.items()})


def show(**figures):
    print(json.dumps(figures), flush=True)


def made(name):
    """The library's own model with random weights; of torchvision the whole detector or segmenter."""
    torch.manual_seed(0)
    library, _, inner = name.rpartition("/")
    if library == "torchvision":
        from torchvision.models import get_model

        return get_model(inner, weights=None, weights_backbone=None)
    import timm

    return timm.create_model(name, pretrained=False)


def randomised(body):
    """No zeros, and BatchNorm statistics as if something had been learned."""
    with torch.no_grad():
        for module in body.modules():
            if getattr(module, "running_var", None) is not None:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        for parameter in body.parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))
    return body


def exporter(graph):
    """Which of torch's two made it: the nodes of the newer one say where they come from."""
    newer = any(node.metadata_props for node in onnx.load_from_string(graph).graph.node)
    return "torch.export" if newer else "traced"


def difference(engine, network):
    """The largest difference from torch at any depth, as a share of the largest value there, on three pictures."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    times = -(-network.side // 8)
    fine = coarse.repeat(times, axis=1).repeat(times, axis=2)[:, : network.side, : network.side]
    pixels = np.ascontiguousarray(fine)
    found = engine.run(pixels)
    with torch.inference_mode():
        wanted = dict(zip(network.output_names, network(torch.from_numpy(pixels)), strict=True))
    return max(float(np.abs(found[k] - w.numpy()).max() / w.abs().max()) for k, w in wanted.items())


class Eager:
    """torch as it comes: the same depths, NCHW throughout, no memory format asked for. Looks like an engine."""

    def __init__(self, network):
        self.network, self.side, self.batch = network, network.side, 8  # the batch of TorchEngine on a CPU

    def stream(self, batches):
        for tag, pixels in batches:
            with torch.inference_mode():
                yield tag, self.run(torch.from_numpy(pixels))

    def run(self, pixels):
        x = self.network.scaled(pixels).contiguous()
        for stage in self.network.stages():
            x = stage(x)
            x.mean((2, 3))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *(kind(word) for kind, word in zip((float, int), sys.argv[3:], strict=False)))
