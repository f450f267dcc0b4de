"""One ONNX file from the backbone's all-depths graph, the chosen depths and a head.

    images -> backbone, cut at the chosen depths -> Concat -> Gemm (logits) -> Div (temperature) -> Softmax

A head with extra layers puts a Gemm and a Relu per layer in front of the last Gemm.

`onnx` is imported inside (0.1 to 0.3 s): only `fit` and `export` build models, predicting never does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import __version__
from headstart.artefact import class_list_hash, format_of
from headstart.head.layered import Dense, Head, layers_of, tensors_of
from headstart.images.preprocess import Preprocessing

INPUT, OUTPUT = "images", "probabilities"
_PREFIX = "headstart_"  # of the names added here, so that they never meet those of the backbone


def build_model(
    graph: Path | bytes,
    depths: Sequence[str],
    head: Head,
    temperature: float,
    classes: Sequence[str],
    preprocessing: Preprocessing,
) -> bytes:
    """The classifier as one self-contained ONNX file.

    `graph`: ONNX with input `images` uint8 (n, side, side, 3) and a float32 output (n, dim) per depth, named after it.
    Only what the chosen `depths` need is kept. `head` works on their concatenation in the order given; its
    standardisation is folded in float64. Input and output of the result: `images`, `probabilities` float32 (n, K).
    ValueError when the pieces do not fit together.
    """
    import onnx

    source = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph, load_external_data=False)
    layers = layers_of(head)
    _check_fit(source, depths, layers, classes, preprocessing)
    nodes, initializers = cut(source, depths)
    head_nodes, head_tensors = _head_layers(depths, layers, temperature)
    joined = onnx.helper.make_graph(
        [*nodes, *head_nodes],
        "headstart_classifier",
        [_plain(source.graph.input[0])],
        [onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["n", len(classes)])],
        [*initializers, *head_tensors],
    )
    model = onnx.helper.make_model(
        joined,
        opset_imports=list(source.opset_import),
        ir_version=source.ir_version,
        producer_name="headstart",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(model, _metadata(depths, temperature, classes, preprocessing, head))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def cut(source: Any, outputs: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Nodes and initializers of the ModelProto `source` that `outputs` depend on, in their order.

    Exporters leave stack traces (with paths of the machine) in documentation fields: these are dropped.
    """
    wanted, kept = set(outputs), []
    for node in reversed(source.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(_plain(node))
    initializers = [_plain(tensor) for tensor in source.graph.initializer if tensor.name in wanted]
    return kept[::-1], initializers


def resize_rule(preprocessing: Preprocessing) -> str:
    """How to prepare a picture, in words, for whoever uses the ONNX file without headstart."""
    side = preprocessing.side
    what = {
        "whole": f"squeeze the whole picture to {side} x {side} pixels",
        "crop": (
            f"cut the central square of {preprocessing.crop_share:g} of the shorter side "
            f"and resize it to {side} x {side} pixels"
        ),
        "pad": f"fit the picture into {side} x {side} pixels, keeping its proportions, centred on grey 127",
    }[preprocessing.fit]
    return (
        "turn the picture upright (EXIF), put transparency on white, convert to RGB, "
        f"{what} (Pillow {preprocessing.interpolation}, reducing_gap 2), "
        "give it as uint8 in height, width, channel order"
    )


def _head_layers(depths: Sequence[str], layers: Sequence[Dense], temperature: float) -> tuple[list[Any], list[Any]]:
    """Nodes and tensors from the depth outputs to `probabilities`."""
    from onnx import helper, numpy_helper

    values = depths[0] if len(depths) == 1 else f"{_PREFIX}features"
    nodes = [] if len(depths) == 1 else [helper.make_node("Concat", list(depths), [values], axis=1)]
    tensors: dict[str, NDArray[np.floating]] = {}
    for at, layer in enumerate(layers[:-1]):
        name = f"hidden{at}"
        tensors |= {f"{name}.weights": layer.weights, f"{name}.bias": layer.bias}
        inputs = [values, f"{_PREFIX}{name}.weights", f"{_PREFIX}{name}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, [f"{_PREFIX}{name}.sums"], transB=1))
        values = f"{_PREFIX}{name}"
        nodes.append(helper.make_node("Relu", [f"{_PREFIX}{name}.sums"], [values]))
    tensors |= {"weights": layers[-1].weights, "bias": layers[-1].bias, "temperature": np.array(temperature)}
    gemm_inputs = [values, f"{_PREFIX}weights", f"{_PREFIX}bias"]
    nodes += [
        helper.make_node("Gemm", gemm_inputs, [f"{_PREFIX}logits"], transB=1),
        helper.make_node("Div", [f"{_PREFIX}logits", f"{_PREFIX}temperature"], [f"{_PREFIX}calibrated"]),
        helper.make_node("Softmax", [f"{_PREFIX}calibrated"], [OUTPUT], axis=1),
    ]
    float32 = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}
    return nodes, [numpy_helper.from_array(value, f"{_PREFIX}{name}") for name, value in float32.items()]


def _check_fit(
    source: Any, depths: Sequence[str], layers: Sequence[Dense], classes: Sequence[str], preprocessing: Preprocessing
) -> None:
    if source.functions:
        raise ValueError("the backbone's graph holds functions: export it inlined")
    if [info.name for info in source.graph.input] != [INPUT]:
        raise ValueError(f"the backbone's graph needs the one input {INPUT!r}")
    sides = [dim.dim_value for dim in source.graph.input[0].type.tensor_type.shape.dim[1:3]]
    if any(side not in (0, preprocessing.side) for side in sides):  # 0: left open
        raise ValueError(f"the graph takes pictures of {sides} pixels, the preprocessing makes {preprocessing.side}")
    dims = {info.name: info.type.tensor_type.shape.dim[1].dim_value for info in source.graph.output}
    if missing := [depth for depth in depths if depth not in dims]:
        raise ValueError(f"the backbone's graph has no depth {missing[0]!r}; it has {', '.join(dims)}")
    if len(set(depths)) != len(depths) or not depths:
        raise ValueError("depths must be given, each once")
    k, d = len(layers[-1].bias), layers[0].weights.shape[1]
    if d != sum(dims[depth] for depth in depths) or k != len(classes):
        raise ValueError(
            f"a head of {k} x {d} does not fit {len(classes)} classes and depths of {[dims[depth] for depth in depths]}"
        )


def _metadata(
    depths: Sequence[str], temperature: float, classes: Sequence[str], preprocessing: Preprocessing, head: Head
) -> dict[str, str]:
    return {
        "headstart": __version__,
        "format": str(format_of(tensors_of(head))),
        "classes": json.dumps(list(classes)),
        "classes_sha256": class_list_hash(classes),
        "preprocessing": json.dumps(preprocessing.to_json(), sort_keys=True),
        "resize": resize_rule(preprocessing),
        "depths": json.dumps(list(depths)),
        "temperature": repr(float(temperature)),
    }


def _plain(proto: Any) -> Any:
    """A copy of a node or tensor without documentation."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    copy.ClearField("doc_string")
    copy.ClearField("metadata_props")
    return copy
