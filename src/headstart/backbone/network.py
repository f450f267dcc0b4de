"""The backbone as a torch module: pixels in, one pooled vector per depth and the discarded head's logits out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from headstart.backbone.sources import Source, load_tensors


class Network(nn.Module):  # type: ignore[misc]
    """uint8 `(n, side, side, 3)` to `(depth vectors (n, dim)..., source_logits (n, classes))`, in `output_names` order.

    `body` is the timm model with its own head (`body.classifier`) in place.
    """

    def __init__(self, body: Any, side: int, output_names: tuple[str, ...]) -> None:
        super().__init__()
        self.body = body
        self.side = side
        self.output_names = output_names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """All depths in one pass; vectors are means over the positions of the block group's last feature map."""
        x = self.scaled(images)
        x = self.body.bn1(self.body.conv_stem(x))
        vectors = []
        for block_group in self.body.blocks:
            x = block_group(x)
            vectors.append(x.mean((2, 3)))
        x = self.body.bn2(self.body.conv_head(x))
        vectors.append(x.mean((2, 3)))
        return (*vectors, self.body.classifier(vectors[-1]))

    def stages(self) -> list[nn.Module]:
        """One module per depth, each from the feature map of the one before (the first from scaled pixels) to its own.

        They share the parameters of `body`; the mean of a stage's map over the positions is the vector of its depth.
        """
        body = self.body
        first = nn.Sequential(body.conv_stem, body.bn1, body.blocks[0])
        return [first, *body.blocks[1:], nn.Sequential(body.conv_head, body.bn2)]

    def scaled(self, images: Tensor) -> Tensor:
        """What the first stage takes: uint8 `(n, side, side, 3)` as float32 `(n, 3, side, side)`, channels last."""
        return (images.permute(0, 3, 1, 2).float() - 127.5) / 127.5


def load_network(source: Source, cache: Path) -> Network:
    """The pretrained network of `source` in evaluation mode; dropout is off, every parameter can still be trained."""
    with torch.device("meta"):
        body = timm.create_model(source.architecture, pretrained=False)
    body.load_state_dict(load_file(load_tensors(source, cache)), assign=True)
    network = Network(body, source.side, (*source.depth_names, "source_logits"))
    network.eval()
    return network


def folded(network: Network) -> Network:
    """A copy with BatchNorm folded into the convolutions and ReLU6 as a plain clamp: the same function, half the nodes.

    Tracing is what takes the time of an export, and the in-place ReLU6 was two thirds of it.
    """
    network = copy.deepcopy(network).eval()  # a network in training mode has no fixed statistics to fold
    _fold(network.body)
    return network


class Clamp(nn.Module):  # type: ignore[misc]
    """ReLU6 as export likes it."""

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)`, cut to 0..6."""
        return torch.clamp(x, 0.0, 6.0)


def _fold(module: Any) -> None:
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            before = name, child
        elif isinstance(child, nn.BatchNorm2d):
            if before is None:
                raise ValueError(f"no convolution before {name}")
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, _activation(getattr(child, "act", None)))
            before = None
        else:
            _fold(child)


def _activation(act: Any) -> nn.Module:
    if isinstance(act, nn.ReLU6):
        return Clamp()
    if act is None or isinstance(act, nn.Identity):
        return nn.Identity()
    raise ValueError(f"cannot fold the activation {type(act).__name__}")
