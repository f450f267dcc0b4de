"""A tiny all-depths graph and classifiers built on it: the shape of the real thing, a thousand times smaller."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from headstart.artefact import Artefact
from headstart.classifier.build import build_model
from headstart.head.layered import Dense, Head, LayeredHead, tensors_of
from headstart.head.linear import LinearHead
from headstart.images.preprocess import Preprocessing

SIDE = 32
DIMS = {"block0": 4, "block1": 6, "last": 8}
CLASSES = ("cat", "dog", "eagle")
PREPROCESSING = Preprocessing(side=SIDE)


def tiny_graph(seed: int = 0) -> bytes:
    """ONNX: uint8 (n, 32, 32, 3) -> one pooled float32 vector per depth, and source_logits (n, 10)."""
    rng = np.random.default_rng(seed)
    tensors = {"middle": np.float32(127.5)}
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "middle"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["stage"], perm=[0, 3, 1, 2], doc_string="File /home/me/model.py"),
    ]
    value, channels = "stage", 3
    for depth, dim in DIMS.items():
        tensors[f"{depth}_kernel"] = rng.normal(0, 0.4, (dim, channels, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [value, f"{depth}_kernel"], [f"{depth}_conv"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"{depth}_conv"], [f"{depth}_map"]),
            helper.make_node("GlobalAveragePool", [f"{depth}_map"], [f"{depth}_pooled"]),
            helper.make_node("Flatten", [f"{depth}_pooled"], [depth], axis=1),
        ]
        value, channels = f"{depth}_map", dim
    tensors["source_weights"] = rng.normal(size=(DIMS["last"], 10)).astype(np.float32)
    nodes.append(helper.make_node("MatMul", ["last", "source_weights"], ["source_logits"]))
    outputs = {**DIMS, "source_logits": 10}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", dim]) for name, dim in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def tiny_features(batch: np.ndarray) -> dict[str, np.ndarray]:
    """Vectors of every depth for squares (n, 32, 32, 3)."""
    session = onnxruntime.InferenceSession(tiny_graph(), providers=["CPUExecutionProvider"])
    return dict(zip(DIMS, session.run(list(DIMS), {"images": batch}), strict=True))


@cache
def feature_moments() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation of every depth over smooth random pictures."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 4, 4, 3), dtype=np.uint8)
    batch = coarse.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
    return {depth: (rows.mean(0), rows.std(0) + 1e-3) for depth, rows in tiny_features(batch).items()}


def tiny_head(depths: tuple[str, ...] = ("block1", "last"), k: int = len(CLASSES), seed: int = 1) -> LinearHead:
    """A random head whose answers differ between pictures."""
    rng = np.random.default_rng(seed)
    mean, scale = (np.concatenate([feature_moments()[depth][part] for depth in depths]) for part in (0, 1))
    return LinearHead(rng.normal(0, 0.5, (k, mean.size)), rng.normal(0, 0.3, k), mean, scale)


def tiny_layered_head(
    depths: tuple[str, ...] = ("block1", "last"), widths: tuple[int, ...] = (6, 4), k: int = len(CLASSES)
) -> LayeredHead:
    """A random head with extra layers whose answers differ between pictures."""
    rng = np.random.default_rng(2)
    mean, scale = (np.concatenate([feature_moments()[depth][part] for depth in depths]) for part in (0, 1))
    sizes = (mean.size, *widths, k)
    layers = [Dense(rng.normal(0, 0.7, (b, a)), rng.normal(0, 0.5, b)) for a, b in pairwise(sizes)]
    return LayeredHead(tuple(layers[:-1]), layers[-1], mean, scale)


def nearest_mean_head(features: np.ndarray, labels: np.ndarray, k: int) -> LinearHead:
    """The head that chooses the class whose mean is nearest, in standardised features."""
    mean, scale = features.mean(0), features.std(0) + 1e-3
    means = np.stack([((features - mean) / scale)[labels == c].mean(0) for c in range(k)])
    return LinearHead(means, -(means**2).sum(1) / 2, mean, scale)


def stored(head: Head) -> dict[str, np.ndarray]:
    """A linear head as its own float64 arrays, a layered one as fit stores it."""
    if isinstance(head, LayeredHead):
        return dict(tensors_of(head))
    return {"weights": head.weights, "bias": head.bias, "mean": head.mean, "scale": head.scale}


def tiny_artefact(
    depths: tuple[str, ...] = ("block1", "last"),
    classes: tuple[str, ...] = CLASSES,
    preprocessing: Preprocessing = PREPROCESSING,
    head: Head | None = None,
    temperature: float = 1.5,
) -> Artefact:
    head = head or tiny_head(depths, len(classes))
    return Artefact(
        classes=classes,
        preprocessing=preprocessing.to_json(),
        backbone={"name": "tiny", "weights": "0" * 64},
        depths=depths,
        temperature=temperature,
        head=stored(head),
        model=build_model(tiny_graph(), depths, head, temperature, classes, preprocessing),
        decision={"train": "head", "why": "it was the best"},
        provenance={"seed": 0},
        created="2026-11-23T00:00:00+00:00",
    )
