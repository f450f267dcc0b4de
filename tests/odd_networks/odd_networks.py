"""Networks of timm's kind that cannot be exported: a loop that depends on the picture, an operation unknown to ONNX."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models import register_model
from torch import Tensor, nn


class Settle(nn.Module):
    """Halves the map of a picture as often as that picture needs: a loop that no graph holds."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._settled(row) for row in x])

    def _settled(self, row: Tensor) -> Tensor:
        while float(row.abs().max()) > 1.0:
            row = row * 0.5
        return row


class Spread(nn.Module):
    """Scales a map by the largest singular value of its channels: no exporter knows it."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (1.0 + torch.linalg.svdvals(x.flatten(2))[:, :1, None, None])


def _with(odd: nn.Module, arguments: dict[str, Any]) -> Any:
    model = timm.create_model("test_resnet", **arguments)
    model.layer1 = nn.Sequential(model.layer1, odd)
    return model


@register_model
def test_settles(pretrained: bool = False, **arguments: Any) -> Any:
    return _with(Settle(), arguments)


@register_model
def test_spreads(pretrained: bool = False, **arguments: Any) -> Any:
    return _with(Spread(), arguments)
