"""The graph of a packaged network without torch: its structure comes along, the package's tensors are put into it.

Exporting means importing torch and timm and tracing: some ten seconds of one core, before the first picture. What that
gives for published weights is known; `preparing` wrote it down once. Here the tensors are read from their places in
the published file, BatchNorm is folded into them, and the result is taken only when every weight is, bit for bit, the
one that was compared with torch, and when the engine of this machine answers as torch did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.graph_file import GRAPH_VERSION
from headstart.backbone.source import Source

FOLDER = Path(__file__).with_name("structures")
EVERY = 16  # columns of the outputs of which one is written down
Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Prepared:
    """`content`: the whole ONNX file. `record`: what lies beside a graph.

    `expected`: what torch gave for each of `graph.probes`: outputs by name `(n, dim)`, every sixteenth column.
    """

    content: bytes
    record: dict[str, Any]
    expected: tuple[Arrays, ...]


def prepared(source: Source, folder: Path = FOLDER) -> Prepared | None:
    """The graph of `source`, or None where no structure fits: torch must export it."""
    try:
        if source.own or (notes := _notes(source, folder)) is None:
            return None
        structure = folder.joinpath(f"{source.name}.onnx").read_bytes()
        content, record = _filled(structure, source.place.read_bytes(), notes)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # damaged, or of another file: nothing that an export would not mend
    return Prepared(content, record, tuple(_arrays(probe) for probe in notes["expected"]))


def packaged_tensors(source: Source) -> Arrays | None:
    """The package's tensors under timm's names, before folding, read without torch; None where that is not known."""
    try:
        notes = _notes(source, FOLDER)
        return None if notes is None else _tensors(source.place.read_bytes(), notes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tensors(weights: bytes, notes: dict[str, Any]) -> Arrays:
    return {name: _read(weights, *place) for name, place in notes["tensors"].items()}


def _notes(source: Source, folder: Path) -> dict[str, Any] | None:
    """What was written down; None unless of these weights, of this version, with the names that timm's modules have."""
    if source.reader != "package":
        return None
    notes: dict[str, Any] = json.loads(folder.joinpath(f"{source.network}.json").read_bytes())
    made = (notes["weights_sha256"], notes["graph_version"], notes["timm"].partition(".")[0])
    return notes if made == (source.sha256, GRAPH_VERSION, version("timm").partition(".")[0]) else None


def _filled(structure: bytes, weights: bytes, notes: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The structure with its weights. ValueError when they are not the ones that were compared with torch."""
    import onnx

    if hashlib.sha256(structure).hexdigest() != notes["structure_sha256"]:
        raise ValueError("a damaged structure")
    model = onnx.load_from_string(structure)
    places = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in folded(_tensors(weights, notes), notes["folds"]):
        places[name].raw_data = np.ascontiguousarray(value, "<f4").tobytes()
    if digest(model) != notes["digest"]:
        raise ValueError("other weights than those that were compared with torch")
    record = {p.key.removeprefix("headstart."): json.loads(p.value) for p in model.metadata_props}
    return bytes(model.SerializeToString()), record


def _read(weights: bytes, offset: int, shape: list[int], strides: list[int]) -> NDArray[np.float32]:
    """A tensor where it lies in the file; ValueError when the file ends before."""
    return np.ndarray(tuple(shape), "<f4", weights, offset, tuple(strides))


def folded(tensors: Arrays, folds: Mapping[str, tuple[str, float] | None]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(name, values) of every weight of the graph. `folds`: layer to (BatchNorm behind it, its epsilon), or None.

    In float32 and in the order of torch's `fuse_conv_bn_eval`: the same bits.
    """
    for layer, behind in folds.items():
        weight, bias = tensors[f"{layer}.weight"], tensors.get(f"{layer}.bias")
        if behind is None:
            yield f"body.{layer}.weight", weight
            if bias is not None:
                yield f"body.{layer}.bias", bias
            continue
        norm, epsilon = behind
        scale, shift, mean, variance = (
            tensors[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        rate = np.float32(1) / np.sqrt(variance + np.float32(epsilon))
        yield f"body.{layer}.weight", weight * (scale * rate).reshape(-1, 1, 1, 1)
        before = np.zeros_like(mean) if bias is None else bias
        yield f"body.{layer}.bias", (before - mean) * rate * scale + shift


def digest(model: Any) -> str:
    """Hash of the names and bytes of every weight of an ONNX model."""
    found = hashlib.sha256()
    for tensor in model.graph.initializer:
        found.update(tensor.name.encode() + b"\0" + tensor.raw_data)
    return found.hexdigest()


def _arrays(probe: dict[str, Any]) -> Arrays:
    return {name: np.array(rows, np.float32) for name, rows in probe.items()}
