"""Look into an ONNX file without importing the onnx package, and refuse what is not self-contained.

An ONNX file may name other files to read tensors from (CVE-2026-27489 and its kin are path traversals through these).
Ours are single files, so every tensor is checked; constructs in which further tensors could hide (functions,
sub-graphs, sparse tensors, training graphs, custom operators) do not occur in them and are refused. Importing onnx for
this would add 0.1 to 0.3 s and 40 MB to every prediction. Field numbers: onnx.proto3 of ONNX 1.21.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_MODEL_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14}
_GRAPH_FIELDS = {1, 2, 5, 10, 11, 12, 13, 16}
_GRAPH, _METADATA = 7, 14
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_ATTRIBUTE, _DOMAIN = 5, 7
_HIDING_ATTRIBUTES = {6, 11, 22, 23}  # graphs and sparse tensors
_TENSOR_ATTRIBUTES = {5, 10}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


@dataclass(frozen=True)
class OnnxFacts:
    """Names of the inputs and outputs, and the metadata, of an ONNX file."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, str]


def inspect_onnx(model: bytes) -> OnnxFacts:
    """Facts of the ONNX file `model`; ValueError (short reason) when it is malformed or not self-contained."""
    graphs: list[memoryview] = []
    metadata: dict[str, str] = {}
    for field, value in _fields(memoryview(model)):
        if field not in _MODEL_FIELDS:
            raise ValueError("it holds functions or other parts that our files never have")
        if field == _GRAPH:
            graphs.append(_message(value))
        elif field == _METADATA:
            entry = {key: _text(part) for key, part in _fields(_message(value))}
            metadata[entry.get(1, "")] = entry.get(2, "")
    if len(graphs) != 1:  # several would be merged by a protobuf parser
        raise ValueError("it is not an ONNX model")
    names = _check_graph(graphs[0])
    return OnnxFacts(tuple(names[_INPUT]), tuple(names[_OUTPUT]), metadata)


def _check_graph(graph: memoryview) -> dict[int, list[str]]:
    """Names of inputs and outputs, by field number."""
    names: dict[int, list[str]] = {_INPUT: [], _OUTPUT: []}
    for field, value in _fields(graph):
        if field not in _GRAPH_FIELDS:
            raise ValueError("its graph holds parts that our files never have")
        if field == _NODE:
            _check_node(_message(value))
        elif field == _INITIALIZER:
            _check_tensor(_message(value))
        elif field in names:
            names[field].append(next((_text(part) for key, part in _fields(_message(value)) if key == 1), ""))
    return names


def _check_node(node: memoryview) -> None:
    for field, value in _fields(node):
        if field == _DOMAIN and _text(value) not in ("", "ai.onnx"):
            raise ValueError(f"it uses operators of {_text(value)[:60]!r}")
        if field == _ATTRIBUTE:
            for key, part in _fields(_message(value)):
                if key in _HIDING_ATTRIBUTES:
                    raise ValueError("a node holds a sub-graph or a sparse tensor")
                if key in _TENSOR_ATTRIBUTES:
                    _check_tensor(_message(part))


def _check_tensor(tensor: memoryview) -> None:
    for field, value in _fields(tensor):
        if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
            raise ValueError("it reads tensors from other files")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value of every field of a protobuf message, in file order."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            number, position = _varint(message, position)
            yield key >> 3, number
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("it is not an ONNX model")
        if length > end - position:
            raise ValueError("it is not an ONNX model, or it is cut short")
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise ValueError("it is not an ONNX model, or it is cut short")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is not an ONNX model")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8", "replace")
