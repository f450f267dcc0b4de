"""Writes what `prepared` reads, for a network of `PACKAGES`: `python -m headstart.backbone.preparing NAME`.

Exports with torch, checks the graph as always, and keeps the structure without weights, where the weights lie in the
package's file, what is folded into what, and what torch answers to the probes. For maintainers, after `GRAPH_VERSION`
or an entry has changed; a test says when it is due.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from headstart.backbone import graph
from headstart.backbone.build import build
from headstart.backbone.network import Network, load_network
from headstart.backbone.prepared import EVERY, FOLDER, digest, prepared
from headstart.backbone.source import Source
from headstart.backbone.sources import find_source

_SMALL = 64  # bytes: what is no weight, such as the axes of a mean


def write(source: Source, folder: Path = FOLDER) -> None:
    """Write NAME.onnx and NAME.json into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        network = load_network(source, Path(scratch))
    record = graph.record_of(source)
    with torch.no_grad():
        content = graph.onnx_bytes(network, record)
    graph.check(content, network)
    model = onnx.load_from_string(content)
    weights = digest(model)
    folds = _folds(network, model)
    _strip(model)
    structure = model.SerializeToString(deterministic=True)
    notes = {
        "weights_sha256": source.sha256,
        "structure_sha256": hashlib.sha256(structure).hexdigest(),
        "graph_version": record["graph_version"],
        "timm": record["made_by"]["timm"],
        "digest": weights,
        "folds": folds,
        "tensors": _places(source),
        "expected": _expected(network),
    }
    folder.mkdir(exist_ok=True)
    folder.joinpath(f"{source.name}.onnx").write_bytes(structure)
    folder.joinpath(f"{source.name}.json").write_text(json.dumps(notes) + "\n", "utf-8")
    if prepared(source, folder) is None:
        raise ValueError(f"what was written for {source.name} does not give the graph that torch exported")


def _places(source: Source) -> dict[str, tuple[int, list[int], list[int]]]:
    """{timm's name: (offset, shape, strides in bytes)} of every float tensor in the package's file."""
    old = torch.load(source.place, map_location="cpu", weights_only=True)
    weights = source.place.read_bytes()
    with torch.device("meta"):
        names = list(build(source.family, source.architecture).state_dict())
    found = {}
    for name, tensor in zip(names, old.values(), strict=True):
        if tensor.dtype == torch.float32:
            raw = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()).numpy().tobytes()
            if weights.count(raw) != 1:
                raise ValueError(f"{name} lies {weights.count(raw)} times in the file")
            offset = weights.find(raw) + 4 * tensor.storage_offset()
            found[name] = (offset, list(tensor.shape), [4 * step for step in tensor.stride()])
    return found


def _folds(network: Network, model: Any) -> dict[str, tuple[str, float] | None]:
    """{layer of the graph: (BatchNorm folded into it, epsilon) or None}."""
    behind = _norms_behind(network)
    weights = [t.name.removeprefix("body.") for t in model.graph.initializer if len(t.raw_data) > _SMALL]
    layers = dict.fromkeys(name.rpartition(".")[0] for name in weights)
    return {
        layer: (behind[layer], network.body.get_submodule(behind[layer]).eps) if layer in behind else None
        for layer in layers
    }


def _norms_behind(network: Network) -> dict[str, str]:
    """{convolution: the BatchNorm that is registered next}: so it is in all networks that packages bring."""
    found: dict[str, str] = {}
    last = ""
    for path, module in network.body.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            last = path
        elif isinstance(module, torch.nn.BatchNorm2d):
            found[last] = path
    return found


def _expected(network: Network) -> list[dict[str, list[list[float]]]]:
    """What torch answers to each probe: every sixteenth column of every output, to seven digits."""
    probes = []
    for pixels in graph.probes(network.side):
        with torch.no_grad():
            outputs = network(torch.from_numpy(pixels))
        parts = {n: np.asarray(t)[:, ::EVERY] for n, t in zip(network.output_names, outputs, strict=True)}
        probes.append({name: [[float(f"{v:.7g}") for v in row] for row in rows] for name, rows in parts.items()})
    return probes


def _strip(model: Any) -> None:
    """Without the weights, and without the exporter's notes on every node."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _SMALL:
            tensor.raw_data = b""
    listed = (model.graph.node, model.graph.value_info, model.graph.input, model.graph.output, model.graph.initializer)
    for part in (model.graph, *(item for items in listed for item in items)):
        del part.metadata_props[:]
        part.doc_string = ""


def main(names: list[str]) -> None:
    """Write the structures of the named packages."""
    for name in names:
        write(find_source(name))


if __name__ == "__main__":
    main(sys.argv[1:])
