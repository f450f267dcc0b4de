"""The classifier's graph once more, with everything that an explanation needs as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headstart.backbone.graph_maps import map_name
from headstart.classifier.build import OUTPUT, cut

_MEANS = ("ReduceMean", "GlobalAveragePool")
_SAME_NUMBERS = ("Flatten", "Squeeze", "Reshape", "Identity")


@dataclass(frozen=True)
class Opened:
    """`model`: an ONNX file with these `outputs`, in their order; `maps`: depth -> output that is its feature map."""

    model: bytes
    outputs: tuple[str, ...]
    maps: dict[str, str]


def explain_graph(model: bytes, depths: Sequence[str]) -> Opened:
    """The classifier `model` (ONNX) with more outputs.

    `probabilities` (n, K); the vector (n, C) of every depth, named after it; `map:<depth>` (n, C, H, W) for every depth
    whose vector is the mean of a map over its positions. ValueError when the graph has no value of a depth's name.
    """
    import onnx

    source = onnx.load_from_string(model)
    producers = {output: node for node in source.graph.node for output in node.output}
    if lost := [depth for depth in depths if depth not in producers]:
        raise ValueError(f"the classifier's graph has no value {lost[0]!r}")
    values = {depth: value for depth in depths if (value := _pooled_map(producers, depth)) is not None}
    # Renamed, not copied by an Identity: OpenVINO removes that and may then keep the other name.
    renamed = {value: map_name(depth) for depth, value in reversed(values.items())}
    nodes, initializers = cut(source, [OUTPUT])
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    shapes = {OUTPUT: ["n", None]} | {depth: ["n", None] for depth in depths}
    shapes |= {name: ["n", None, None, None] for name in renamed.values()}
    infos = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = onnx.helper.make_graph(nodes, "headstart_explainer", source.graph.input, infos, initializers)
    made = onnx.helper.make_model(graph, opset_imports=list(source.opset_import), ir_version=source.ir_version)
    maps = {depth: renamed[value] for depth, value in values.items()}
    return Opened(bytes(made.SerializeToString()), tuple(shapes), maps)


def _pooled_map(producers: dict[str, Any], depth: str) -> str | None:
    """The value whose mean over the positions is the vector `depth`; None when it is something else."""
    node = producers[depth]
    while node.op_type in _SAME_NUMBERS and node.input[0] in producers:
        node = producers[node.input[0]]
    return str(node.input[0]) if node.op_type in _MEANS else None
