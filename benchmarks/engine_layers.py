"""What the layers of a network have to do, counted from its ONNX graph: operations, bytes, and the least time for them.

Operations are the multiplications and additions of convolutions and matrix products. Bytes are what crosses the border
of a layer as the engine executes it: a convolution with the bias, the clamp and the sum that follow is one layer, so
nothing between them goes to memory.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

BYTES = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.UINT8: 1, onnx.TensorProto.INT64: 8, onnx.TensorProto.BOOL: 1}

ABOUT = ("CastLike", "Shape")  # what they read last tells them a type or a size; its numbers are not looked at


@dataclass(frozen=True)
class Node:
    """One node: its kind and shape for people, its operations, what it reads and writes (bytes by tensor)."""

    kind: str
    shape: str
    ops: float
    reads: dict
    writes: dict


class Graph:
    """The nodes of an ONNX file for batches of `batch` pictures."""

    def __init__(self, file, batch):
        model = onnx.load(file)
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:  # the one thing that varies is how many pictures there are
                    dim.dim_value = batch
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self.batch = batch
        self._outputs = {value.name for value in graph.output}
        self._shapes = {t.name: (tuple(t.dims), BYTES.get(t.data_type, 4)) for t in graph.initializer}
        for value in (*graph.input, *graph.output, *graph.value_info):
            kind = value.type.tensor_type
            self._shapes[value.name] = (tuple(d.dim_value for d in kind.shape.dim), BYTES.get(kind.elem_type, 4))
        self._names, self._readers, self.nodes = {}, {}, {}
        for node in graph.node:
            self.nodes[node.output[0]] = self._node(node)
            self._names |= {node.name: node.output[0], **{out: node.output[0] for out in node.output}}
            for tensor in node.input if node.op_type not in ABOUT else node.input[:-1]:
                self._readers.setdefault(tensor, set()).add(node.output[0])

    @property
    def ops(self):
        """Operations per picture."""
        return sum(node.ops for node in self.nodes.values()) / self.batch

    @property
    def convolutions(self):
        """Keys of the nodes that do the work."""
        return {key for key, node in self.nodes.items() if node.ops}

    def keys(self, names):
        """Keys of the nodes that an executed layer stands for; `names` as the engine reports them."""
        parts = (self._names.get(name) or self._names.get(name.rpartition("/")[0]) for name in names)
        return {key for key in parts if key}

    def work(self, keys):
        """(kind, shape, operations, bytes) per batch of one executed layer; what stays inside of it moves no bytes."""
        inside = [self.nodes[key] for key in keys]
        reads = {tensor: size for node in inside for tensor, size in node.reads.items()}
        writes = {tensor: size for node in inside for tensor, size in node.writes.items()}
        moved = sum(size for tensor, size in reads.items() if tensor not in writes)
        moved += sum(size for tensor, size in writes.items() if self._leaves(tensor, keys))
        main = max(inside, key=lambda node: node.ops)
        return main.kind, main.shape, sum(node.ops for node in inside), moved

    def _leaves(self, tensor, keys):
        return tensor in self._outputs or bool(self._readers.get(tensor, set()) - set(keys))

    def _node(self, node):
        reads = {tensor: self._size(tensor) for tensor in node.input if tensor}
        writes = {tensor: self._size(tensor) for tensor in node.output if tensor}
        kind, shape, ops = node.op_type, "", 0.0
        if node.op_type == "Conv":
            kind, shape, ops = self._convolution(node)
        elif node.op_type in ("Gemm", "MatMul"):
            kind, shape, ops = self._product(node)
        elif node.op_type == "ReduceMean":
            kind, shape = "means", "x".join(map(str, self._shapes[node.input[0]][0][1:]))
        return Node(kind, shape, ops, reads, writes)

    def _convolution(self, node):
        weight, out = self._shapes[node.input[1]][0], self._shapes[node.output[0]][0]
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        side = "x".join(map(str, weight[2:]))
        kind = "depthwise" if groups == weight[0] and weight[1] == 1 else "convolution"
        shape = f"{weight[1] * groups} to {weight[0]} channels at {out[2]}x{out[3]}"
        return f"{kind} {side}", shape, 2.0 * prod(out) * prod(weight[1:])

    def _product(self, node):
        left, out = self._shapes[node.input[0]][0], self._shapes[node.output[0]][0]
        return "matrix product", f"{left[-1]} to {out[-1]}", 2.0 * prod(out) * left[-1]

    def _size(self, tensor):
        shape, width = self._shapes.get(tensor, ((), 4))
        return prod(shape) * width


@dataclass(frozen=True)
class Machine:
    """What one core does while all are busy: operations a second, and bytes a second by bytes of working set."""

    ops: float
    bandwidth: dict

    def seconds(self, ops, size):
        """The least time for `ops` operations on `size` bytes: arithmetic or memory, whichever is the slower."""
        return max(ops / self.ops, size / self.speed(size))

    def speed(self, size):
        """Bytes a second when as many are in use; between two measured sizes by the logarithm."""
        sizes = sorted(self.bandwidth)
        return float(np.interp(np.log(max(size, 1)), np.log(sizes), [self.bandwidth[s] for s in sizes]))
