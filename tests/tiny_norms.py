"""A tiny network with BatchNorm whose statistics are those of given pictures: in torch, and as a folded ONNX graph."""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

SIDE = 32


def smooth_pictures(n: int, seed: int = 0) -> np.ndarray:
    """uint8 (n, 32, 32, 3): coarse random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)


def tiny_network(pictures: np.ndarray, eps: float = 1e-3) -> nn.Module:
    """Two convolutions with BatchNorm; running statistics of their inputs over `pictures`; gains of both signs."""
    torch.manual_seed(0)
    network = nn.Module()
    for i, conv in enumerate((nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.Conv2d(8, 12, 1))):
        bn = nn.BatchNorm2d(len(conv.weight), eps=eps, momentum=None)
        nn.init.uniform_(bn.weight, 0.5, 1.5)
        nn.init.normal_(bn.bias)
        with torch.no_grad():
            bn.weight[::3] *= -1
        network.add_module(f"stage{i}", nn.ModuleDict({"conv": conv, "norm": bn}))
    x = (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    with torch.no_grad():
        for stage in network.children():
            x = torch.relu(stage["norm"](stage["conv"](x)))
    return network.eval()


def tensors_of(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}


def folded_graph(network: nn.Module) -> bytes:
    """ONNX: uint8 (n, 32, 32, 3) -> "last" (n, 12), BatchNorm folded; tensors are named one level deeper."""
    constants = {"middle": np.float32(127.5)}
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "middle"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["x"], perm=[0, 3, 1, 2]),
    ]
    value = "x"
    for name, stage in network.named_children():
        folded = fuse_conv_bn_eval(stage["conv"], stage["norm"])
        names = [f"body.{name}.conv.{which}" for which in ("weight", "bias")]
        constants |= {names[0]: folded.weight.detach().numpy(), names[1]: folded.bias.detach().numpy()}
        nodes += [
            helper.make_node("Conv", [value, *names], [f"{name}.raw"], strides=list(folded.stride)),
            helper.make_node("Relu", [f"{name}.raw"], [f"{name}.map"]),
        ]
        value = f"{name}.map"
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["last"], axis=1),
    ]
    return model(nodes, constants, 12)


def model(nodes: list, constants: dict[str, np.ndarray], dim: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("last", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
