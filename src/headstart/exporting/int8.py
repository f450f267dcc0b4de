"""The classifier in 8-bit integers: static, per channel, calibrated on training pictures, its shift taken out again.

The head stays in fp32. Rounding moves pooled features in the same direction on every picture: what they moved on
average over the calibration pictures is put back into the head's bias. Where answers still change, the first
convolutions, whose errors all others inherit, stay in fp32 too.
"""

from __future__ import annotations

import logging
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.build import INPUT, OUTPUT
from headstart.engine.cores import usable_cores
from headstart.errors import ClassifierError
from headstart.exporting.gate import agreement
from headstart.exporting.runtime import OnnxRuntimeEngine, import_onnxruntime

FLOAT_CONVOLUTIONS = (0, 8, 16)  # of the first ones, tried in this order
ENOUGH = 0.99  # same class on this share of the calibration pictures: no more convolutions need to stay in fp32
_OPERATORS = ["Conv", "MatMul", "Clip", "Relu", "Add"]
_BATCH = 8


def quantise(model: bytes, pixels: NDArray[np.uint8]) -> bytes:
    """`model` (ONNX, a classifier) in int8 as QDQ, calibrated on `pixels` (n, side, side, 3) uint8.

    Metadata, input and output stay. ClassifierError when the network cannot be quantised.
    """
    import_onnxruntime()
    wanted = OnnxRuntimeEngine(model).run(pixels)["probabilities"]
    with tempfile.TemporaryDirectory(prefix="headstart-int8-") as folder, _quiet():
        try:
            prepared = _prepared(model, Path(folder))
            features = _features(prepared, pixels)
            for kept in FLOAT_CONVOLUTIONS:
                rough = _quantised(prepared, pixels, kept, Path(folder))
                found = _shifted_back(rough, features, _features(rough, pixels))
                if agreement(wanted, OnnxRuntimeEngine(found).run(pixels)["probabilities"]).share >= ENOUGH:
                    break
        except (RuntimeError, ValueError, KeyError, IndexError, TypeError, NotImplementedError, OSError) as error:
            if isinstance(error, OSError):
                raise
            raise ClassifierError(
                f"this network cannot be quantised ({' '.join(str(error).split())[:160]}): use --to onnx"
            ) from error
    return found


def _prepared(model: bytes, folder: Path) -> bytes:
    """`model` with constants folded (ranges of ReLU6 among them) and a name for every node."""
    import onnx

    onnxruntime = import_onnxruntime()
    original, path = onnx.load_from_string(model), folder / "prepared.onnx"
    for _ in range(2):  # functions are inlined by the first pass, folded by the second
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        model = path.read_bytes()
    prepared = onnx.load_from_string(model)
    for at, node in enumerate(prepared.graph.node):
        node.name = f"node{at}"
    del prepared.metadata_props[:]
    prepared.metadata_props.extend(original.metadata_props)
    return bytes(prepared.SerializeToString(deterministic=True))


def _quantised(model: bytes, pixels: NDArray[np.uint8], kept: int, folder: Path) -> bytes:
    """`model` in int8 but for its head and its first `kept` convolutions."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    graph = onnx.load_from_string(model).graph
    head = [node.name for node in graph.node if node.output[0].startswith("headstart_") or node.output[0] == OUTPUT]
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    source, target = folder / "source.onnx", folder / "int8.onnx"
    source.write_bytes(model)
    quantize_static(
        source,
        target,
        _Reader(pixels),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_OPERATORS,
        per_channel=True,
        reduce_range=_overflows(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=head + convolutions[:kept],
    )
    return target.read_bytes()


class _Reader:
    """Calibration pictures as onnxruntime.quantization asks for them."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._batches = iter([pixels[at : at + _BATCH] for at in range(0, len(pixels), _BATCH)])

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (batch := self.get_next()) is not None:
            yield batch


def _features(model: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What goes into the head, (n, d)."""
    import onnx

    onnxruntime = import_onnxruntime()
    opened = onnx.load_from_string(model)
    name = _first_layer(opened).input[0]
    opened.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = onnxruntime.InferenceSession(opened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rows = [session.run([name], {INPUT: pixels[at : at + _BATCH]})[0] for at in range(0, len(pixels), _BATCH)]
    return np.concatenate(rows)


def _shifted_back(model: bytes, wanted: NDArray[np.float32], found: NDArray[np.float32]) -> bytes:
    """`model` with the mean difference of its features folded into the bias of the head's first layer."""
    import onnx

    opened = onnx.load_from_string(model)
    layer = _first_layer(opened)
    tensors = {tensor.name: tensor for tensor in opened.graph.initializer}
    weights, bias = (onnx.numpy_helper.to_array(tensors[name]) for name in layer.input[1:3])
    moved = bias + weights @ (wanted.mean(axis=0) - found.mean(axis=0))
    tensors[layer.input[2]].CopyFrom(onnx.numpy_helper.from_array(moved.astype(np.float32), layer.input[2]))
    return bytes(opened.SerializeToString(deterministic=True))


def _first_layer(model: Any) -> Any:
    """The head's first Gemm node."""
    return next(n for n in model.graph.node if n.op_type == "Gemm" and n.output[0].startswith("headstart_"))


def _overflows() -> bool:
    """Whether 8-bit products may overflow: x86 without VNNI, or not known to have it. Then weights get 7 bits."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return True


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises through the root logger; there is nothing for the user to do about it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
