"""From the pretrained network to one that can be trained: BatchNorm folded away, slow layers replaced, parts frozen."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.backbone.network import Clamp, Network, folded
from headstart.finetune.depthwise import Depthwise, replaceable


def trainable(network: Network, train: str, seed: int = 0) -> Network:
    """A copy of `network` made for training `train` ("norms", "last-k", "all", "scratch"), channels last.

    BatchNorm is folded into the convolutions: its statistics cannot drift, and a third of the layers is gone. Only
    from scratch it stays, with statistics of its own. "norms" trains a factor and a bias per channel.
    """
    if train == "scratch":
        network = copy.deepcopy(network)
        _start_again(network, seed)
    else:
        network = folded(network)
    _replace(network.body, train == "norms")
    network.to(memory_format=torch.channels_last)
    return network


def tensors_of(network: Network) -> dict[str, Tensor]:
    """Parameters of a trained network under the names they have in the exported graph, BatchNorm and factors folded."""
    if any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        network = folded(network)
    found = {name: value.detach() for name, value in network.state_dict().items()}
    for name in [name for name in found if name.endswith(".factor")]:
        weight = name.removesuffix("factor") + "weight"
        found[weight] = found[weight] * found.pop(name)
    return found


class Scaled(nn.Module):  # type: ignore[misc]
    """A convolution whose weights stay, times a trained `factor` per channel, with a trained bias."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.factor = nn.Parameter(torch.ones(len(conv.weight), 1, 1, 1))
        conv.bias = None
        self.__dict__["_conv"] = conv  # not as a child: the weights keep their names

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution; the factor multiplies its output, which spares the gradient of the weights."""
        y: Tensor = self._conv(x)
        factor, bias = (p.view(1, -1, 1, 1).to(y.dtype) for p in (self.factor, self.bias))
        return torch.addcmul(bias, y, factor)


class _Relu6(nn.Module):  # type: ignore[misc]
    """In place; its backward is one pass where that of `clamp` is five: half of a training step was spent there."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.hardtanh_(x, 0.0, 6.0)


def _replace(module: nn.Module, scaled: bool) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, Clamp):
            setattr(module, name, _Relu6())
        elif isinstance(child, nn.Conv2d):
            conv = Depthwise(child) if replaceable(child) else child
            setattr(module, name, Scaled(conv) if scaled else conv)
        else:
            _replace(child, scaled)


def _start_again(network: Network, seed: int) -> None:
    """Random weights: He et al. 2015 for the convolutions, ones and zeros for BatchNorm."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight.numel() // module.weight.shape[1] // module.groups
            with torch.no_grad():
                module.weight.normal_(0.0, (2.0 / max(1, fan_out)) ** 0.5, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.reset_parameters()
