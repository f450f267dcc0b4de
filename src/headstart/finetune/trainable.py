"""From the pretrained network to one that can be trained: BatchNorm folded away, slow layers replaced, parts frozen."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from headstart.backbone.folding import Clamp, folded
from headstart.backbone.network import Network
from headstart.finetune.depthwise import Depthwise, replaceable
from headstart.finetune.sparing import Relu6, Scaled

_PLAIN = ("Conv2d", "Conv2dSame")  # others change their weights on the way
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


def trainable(network: Network, train: str, seed: int = 0) -> Network:
    """A copy of `network` made for training `train` ("norms", "last-k", "all", "scratch"), channels last.

    BatchNorm is folded into the convolutions: its statistics cannot drift, and a third of the layers is gone. Where it
    cannot be folded it stays in evaluation mode. Only from scratch it has statistics of its own. "norms" trains a
    factor and a bias per channel of folded convolutions, and of other norms what they have.
    """
    if train == "scratch":
        network = copy.deepcopy(network)
        _start_again(network, seed)
    else:
        network = folded(network)
    network.scratch = train == "scratch"
    _replace(network.body, train == "norms")
    network.to(memory_format=torch.channels_last)
    return network


def tensors_of(network: Network) -> dict[str, Tensor]:
    """Parameters of a trained network under the names they have in the exported graph, BatchNorm and factors folded."""
    if network.scratch:
        network = folded(network)
    found = {name: value.detach() for name, value in network.named_parameters()}
    for name in [name for name in found if name.endswith(".factor")]:
        weight = name.removesuffix("factor") + "weight"
        found[weight] = found[weight] * found.pop(name)
    return found


def can_start_again(network: Network) -> bool:
    """Whether it can be trained from scratch: every parameter is of a layer whose random start is known."""
    known = (nn.Conv2d, nn.Linear, *_NORMS)
    owners = [m for m in network.body.modules() if any(True for _ in m.parameters(recurse=False))]
    return all(isinstance(module, known) for module in owners)


def _replace(module: nn.Module, scaled: bool) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, Clamp):
            setattr(module, name, Relu6())
        elif isinstance(child, nn.Conv2d):
            conv = Depthwise(child) if replaceable(child) else child
            fits = child.bias is not None and type(child).__name__ in _PLAIN
            setattr(module, name, Scaled(conv) if scaled and fits else conv)
        else:
            _replace(child, scaled)


def _start_again(network: Network, seed: int) -> None:
    """Random weights: He et al. 2015 for convolutions and linear layers, ones and zeros for norms."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.body.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            groups = module.groups if isinstance(module, nn.Conv2d) else 1
            fan_out = module.weight.numel() // module.weight.shape[1] // groups
            with torch.no_grad():
                module.weight.normal_(0.0, (2.0 / max(1, fan_out)) ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
        elif isinstance(module, _NORMS):
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_running_stats()
                module.eps = module.eps or 1e-5  # torchvision's frozen ones have 0, which training refuses
            module.reset_parameters()
