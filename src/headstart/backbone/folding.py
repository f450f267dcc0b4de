"""BatchNorm folded into the convolutions before it: the same function with a third of the layers gone."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from headstart.backbone.network import Network

_CONVOLUTIONS = ("Conv2d", "Conv2dSame", "Depthwise")  # exactly these: others change their weights on the way


def folded(network: Network) -> Network:
    """A copy with BatchNorm folded into the convolutions and ReLU6 as a plain clamp: the same function, fewer nodes.

    Tracing is what takes the time of an export, and the in-place ReLU6 was two thirds of it. A BatchNorm whose input is
    not the output of one convolution alone stays as it is.
    """
    network = copy.deepcopy(network).eval()  # a network in training mode has no fixed statistics to fold
    for conv, norm in _pairs(network):
        before, name = network.body.get_submodule(conv), norm.rpartition(".")
        layer = network.body.get_submodule(norm)
        if before.weight.device.type == "meta":  # only the structure is wanted
            before.bias = nn.Parameter(torch.empty(len(before.weight), device="meta"))
        else:
            parent = network.body.get_submodule(conv.rpartition(".")[0])
            setattr(parent, conv.rpartition(".")[2], fuse_conv_bn_eval(before, layer))
        setattr(network.body.get_submodule(name[0]), name[2], getattr(layer, "act", None) or nn.Identity())
    _clamp(network.body)
    return network


class Clamp(nn.Module):  # type: ignore[misc]
    """ReLU6 as export likes it."""

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)`, cut to 0..6."""
        return torch.clamp(x, 0.0, 6.0)


def _pairs(network: Network) -> list[tuple[str, str]]:
    """Paths of convolutions and the BatchNorm layers that read them and nothing else, seen by running the network."""
    seen: list[tuple[str, Any, Any]] = []  # the tensors are kept, so that no two share an identity

    def look(path: str) -> Any:
        return lambda module, inputs, output: seen.append((path, inputs[0], output))

    modules = {path: m for path, m in network.body.named_modules() if not list(m.children()) or _is_norm(m)}
    hooks = [m.register_forward_hook(look(path)) for path, m in modules.items()]
    device = next(network.body.parameters()).device
    try:
        with torch.no_grad():
            network(torch.zeros((1, network.side, network.side, 3), dtype=torch.uint8, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    made = {id(out): path for path, _, out in seen if type(modules[path]).__name__ in _CONVOLUTIONS}
    runs = [path for path, _, _ in seen]
    inside = tuple(f"{path}." for path in modules if _is_norm(modules[path]))  # timm's norms hold their activation
    readers = [id(x) for path, x, _ in seen if not path.startswith(inside)]
    return [
        (made[id(x)], path)
        for path, x, _ in seen
        if _is_norm(modules[path]) and id(x) in made and readers.count(id(x)) == 1
        and runs.count(path) == 1 and runs.count(made[id(x)]) == 1
    ]  # fmt: skip


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d)


def _clamp(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.ReLU6):
            setattr(module, name, Clamp())
        elif _is_norm(child):
            continue
        else:
            _clamp(child)
