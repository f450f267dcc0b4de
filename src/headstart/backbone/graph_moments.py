"""The exported graph, made to give the moments of what each BatchNorm layer was fed, without torch.

In the graph BatchNorm is folded into the convolutions: the raw value x became z = beta + scale (x - running mean) with
scale = gamma / sqrt(running variance + eps). Hence (x - running mean) / running deviation = (z - beta) / unit with
unit = scale * running deviation. `scale` is read off the folded weights, so eps need not be known, and a convolution
counts only when its folded bias agrees. FrozenBatchNorm2d has the same tensors; layers that were not folded
(BatchNormalization nodes) are read directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.backbone.prepared import packaged_tensors
from headstart.backbone.tensors import load_tensors

FloatArray = NDArray[np.float64]
Tensors = Mapping[str, NDArray[Any]]

_AGREE = 1e-3  # folded biases against the ones computed here, of their largest value
_DEAD = 1e-4  # of the layer's median: below it a gain or a running variance is a channel that never says anything


@dataclass(frozen=True)
class Norm:
    """A BatchNorm layer as the graph shows it: `(value - centre) / unit` is its input in running deviations.

    `name`: of the convolution before it, or of the node. `centre`, `unit`: float64 `(channels,)`; unit 0: dead channel.
    """

    name: str
    centre: FloatArray
    unit: FloatArray

    @property
    def outputs(self) -> tuple[str, str]:
        """Names of the graph's outputs: mean of `value - centre` and mean of its square, both `(n, channels)`."""
        return f"mean:{self.name}", f"square:{self.name}"


def backbone_moment_graph(backbone: Backbone) -> tuple[bytes, tuple[Norm, ...]]:
    """`moment_graph` of a backbone; waits for its export. Raises MachineError, OSError (weights not readable)."""
    from safetensors.numpy import load

    graph = backbone.graph()
    tensors = packaged_tensors(backbone.source)
    if tensors is None:
        tensors = load(load_tensors(backbone.source, backbone.cache).read_bytes())
    return moment_graph(graph, tensors)


def moment_graph(graph: Path | bytes, tensors: Tensors) -> tuple[bytes, tuple[Norm, ...]]:
    """`graph` with two outputs per BatchNorm layer (`Norm.outputs`) in place of its own, and the layers in its order.

    `tensors`: the network's weights by name, before folding. No layers: the bytes are empty.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(graph if isinstance(graph, bytes) else graph.read_bytes())
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    layers: dict[str, tuple[Norm, str]] = {}
    for node in model.graph.node:
        constants = {name: numpy_helper.to_array(arrays[name]) for name in node.input[1:] if name in arrays}
        found = _layer(node, constants, tensors)
        if found is not None:
            layers.setdefault(found[0].name, found)  # a layer that is used twice counts where it comes first
    if not layers:
        return b"", ()
    _show(model.graph, list(layers.values()))
    return bytes(model.SerializeToString()), tuple(norm for norm, _ in layers.values())


def _show(graph: Any, layers: list[tuple[Norm, str]]) -> None:
    """Make the moments of the given values the outputs of `graph`, and nothing else."""
    from onnx import TensorProto, helper, numpy_helper

    del graph.output[:]
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "moments.axes"))
    for norm, value in layers:
        mean, square = norm.outputs
        inner = f"moments.{norm.name}"
        centre = norm.centre.astype(np.float32).reshape(1, -1, 1, 1)
        graph.initializer.append(numpy_helper.from_array(centre, f"{inner}.centre"))
        # Centred before squaring: E[z^2] - E[z]^2 in float32 loses everything where beta is large beside gamma.
        graph.node.extend(
            [
                helper.make_node("Sub", [value, f"{inner}.centre"], [f"{inner}.centred"]),
                helper.make_node("Mul", [f"{inner}.centred"] * 2, [f"{inner}.squared"]),
                helper.make_node("ReduceMean", [f"{inner}.centred", "moments.axes"], [mean], keepdims=0),
                helper.make_node("ReduceMean", [f"{inner}.squared", "moments.axes"], [square], keepdims=0),
            ]
        )
        shape = ["n", len(norm.centre)]
        graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in (mean, square))


def _layer(node: Any, constants: Tensors, tensors: Tensors) -> tuple[Norm, str] | None:
    """The BatchNorm layer at `node` and the name of the value that shows it; `constants`: its inputs, in order."""
    names, values = list(constants), [value.astype(np.float64) for value in constants.values()]
    if node.op_type == "BatchNormalization" and len(values) == 4:
        name = names[2].rpartition(".")[0] or node.output[0]
        return Norm(name, values[2], _unit(np.ones_like(values[2]), values[3])), node.input[0]
    if node.op_type == "Conv" and len(values) == 2:
        norm = _folded_norm(names[0], values[0], values[1], tensors)
        return None if norm is None else (norm, node.output[0])
    return None


def _folded_norm(name: str, weight: FloatArray, bias: FloatArray, tensors: Tensors) -> Norm | None:
    """The layer folded into the convolution with initializer `name`: the one beside it whose folded bias agrees."""
    # The exported module may hold the network one level deeper than its weights file names it.
    own = name if name in tensors else name.partition(".")[2]
    raw = tensors.get(own)
    if raw is None or raw.shape != weight.shape:
        return None
    before = raw.astype(np.float64).reshape(len(weight), -1)
    power = (before**2).sum(axis=1)
    scale = (before * weight.reshape(before.shape)).sum(axis=1) / np.where(power > 0, power, 1.0)
    conv = own.removesuffix(".weight")
    extra = tensors.get(f"{conv}.bias", np.zeros(len(weight)))
    parent = conv.rpartition(".")[0]
    best, distance = None, _AGREE * max(float(np.abs(bias).max()), 1e-6)
    for key in tensors:
        norm = key.removesuffix(".running_mean")
        if norm == key or norm.rpartition(".")[0] != parent or tensors[key].shape != bias.shape:
            continue
        beta = tensors.get(f"{norm}.bias", np.zeros(len(bias))).astype(np.float64)
        found = float(np.abs(beta + scale * (extra - tensors[key]) - bias).max())
        if found <= distance:
            best = Norm(conv, beta, _unit(scale, tensors[f"{norm}.running_var"].astype(np.float64)))
            distance = found
    return best


def _unit(scale: FloatArray, variance: FloatArray) -> FloatArray:
    """Running deviations as the graph shows them, 0 for dead channels."""
    unit = np.abs(scale) * np.sqrt(np.maximum(variance, 0.0))
    alive = (variance > _DEAD * np.median(variance)) & (unit > _DEAD * np.median(unit))
    # The sign of gamma turns mean and centre alike: squared differences need only its size.
    return np.where(alive, unit, 0.0)
