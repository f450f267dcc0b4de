"""The front part of the exported graph: feature maps where training will start, and nothing behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MEANS = ("ReduceMean", "GlobalAveragePool")
_SAME_NUMBERS = ("Flatten", "Squeeze", "Reshape", "Identity")


def map_name(depth: str) -> str:
    """Name of the output that holds the feature map of `depth`."""
    return f"map:{depth}"


def map_graph(graph: Path | bytes, depths: Sequence[str]) -> bytes:
    """The all-depths ONNX `graph` cut behind the deepest of `depths`, with the feature maps as outputs.

    Outputs: `map:<depth>` float32 (n, C, H, W) for every given depth, and the pooled vectors (n, C), names unchanged,
    of all depths up to the deepest given one. ValueError for a depth the graph does not have or whose vector is not
    the mean of a map.
    """
    import onnx

    source = _read(graph)
    producers = {output: node for node in source.graph.node for output in node.output}
    maps = {depth: _pooled_map(producers, depth) for depth in depths}
    if not maps:
        raise ValueError("at least one depth is needed")
    names = [info.name for info in source.graph.output]
    pooled = source.graph.output[: max(names.index(depth) for depth in maps) + 1]
    # Transposing to channels-last and rounding to float16 inside the graph was measured: no faster than numpy's copy.
    nodes, initializers = _needed(source, {*maps.values(), *(info.name for info in pooled)})
    # Renamed, not copied by an Identity: OpenVINO removes that and may then keep the other name.
    renamed = {value: map_name(depth) for depth, value in maps.items()}
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    infos = [
        onnx.helper.make_tensor_value_info(map_name(depth), onnx.TensorProto.FLOAT, ["n", None, None, None])
        for depth in maps
    ]
    front = onnx.helper.make_graph(nodes, "maps", source.graph.input, [*infos, *pooled], initializers)
    model = onnx.helper.make_model(front, opset_imports=list(source.opset_import), ir_version=source.ir_version)
    return bytes(model.SerializeToString())


def map_shapes(graph: Path | bytes, depths: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Height, width and channels of the feature map of every given depth, without running anything."""
    import onnx

    source = _read(graph)
    producers = {output: node for node in source.graph.node for output in node.output}
    maps = {depth: _pooled_map(producers, depth) for depth in depths}
    known = _shapes(source)
    if not known.keys() >= set(maps.values()):
        known = _shapes(onnx.shape_inference.infer_shapes(source))
    found = {}
    for depth, value in maps.items():
        channels, height, width = known.get(value, (0, 0, 0, 0))[1:]
        if not channels * height * width:
            raise ValueError(f"the map of {depth!r} has no fixed shape")
        found[depth] = (height, width, channels)
    return found


def _read(graph: Path | bytes) -> Any:
    import onnx

    return onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph, load_external_data=False)


def _pooled_map(producers: dict[str, Any], depth: str) -> str:
    """The value whose mean over the positions is the vector `depth`."""
    if depth not in producers:
        raise ValueError(f"the graph has no depth {depth!r}")
    node = producers[depth]
    while node.op_type in _SAME_NUMBERS and node.input[0] in producers:
        node = producers[node.input[0]]
    if node.op_type not in _MEANS:
        raise ValueError(f"the vector {depth!r} comes from {node.op_type}, not from the mean of a feature map")
    return str(node.input[0])


def _needed(source: Any, wanted: set[str]) -> tuple[list[Any], list[Any]]:
    """Nodes and initializers that `wanted` depends on, in their order."""
    kept = []
    for node in reversed(source.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1], [tensor for tensor in source.graph.initializer if tensor.name in wanted]


def _shapes(source: Any) -> dict[str, tuple[int, ...]]:
    infos = [*source.graph.value_info, *source.graph.output]
    shapes = {info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim) for info in infos}
    return {name: shape for name, shape in shapes.items() if len(shape) == 4}
