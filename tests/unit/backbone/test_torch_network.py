"""What a classifier keeps of a network that runs in torch: made again from its tensors, it gives the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone.build import build, shape_of
from headstart.backbone.graph_maps import map_name
from headstart.backbone.network import Network
from headstart.backbone.torch_network import WithMaps, kept_network, restored

# One per way of cutting: groups, blocks of tokens, the whole, and a body of torchvision's.
KINDS = (
    ("timm", "test_efficientnet"),
    ("timm", "test_vit3"),
    ("timm", "levit_128s"),
    ("torchvision", "ssdlite320_mobilenet_v3_large"),
)


def opened(family: str, architecture: str, cache: Path) -> Any:
    """What `kept_network` reads of a backbone, with random weights."""
    torch.manual_seed(0)
    network = Network(build(family, architecture), shape_of(family, architecture, cache)).eval()
    source = SimpleNamespace(family=family, architecture=architecture, shape=network.shape)
    return SimpleNamespace(source=source, torch_module=lambda: network)


def pixels(side: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize(("family", "architecture"), KINDS)
@pytest.mark.parametrize("deepest", ["block0", "last"])
def test_it_gives_the_same_numbers_as_far_as_it_is_read(
    cache: Path, family: str, architecture: str, deepest: str
) -> None:
    backbone = opened(family, architecture, cache)
    network = backbone.torch_module()
    kept = kept_network(backbone, (deepest,), "why")
    again = restored(kept)
    assert json.loads(json.dumps(kept.to_json())) == kept.to_json()
    names = [name for name, _ in again.shape.depths]
    assert names[-1] == deepest and not again.training and again.shape.classes == 0
    with torch.no_grad():
        wanted = dict(zip(network.output_names, network(pixels(network.side)), strict=True))
        found = dict(zip(again.output_names, again(pixels(again.side)), strict=True))
        opened_up = WithMaps(again, (deepest,))
        shown = dict(zip(opened_up.output_names, opened_up(pixels(again.side)), strict=True))
    assert all(torch.equal(found[name], wanted[name]) for name in names)
    assert torch.equal(shown[deepest], wanted[deepest])
    assert torch.equal(shown[map_name(deepest)].mean((2, 3)), wanted[deepest])
    size, every = sum(t.size for t in kept.tensors.values()), sum(p.numel() for p in network.body.parameters())
    assert size < every if deepest == "block0" and architecture != "levit_128s" else size <= 1.1 * every
    if deepest == "block0" and architecture == "test_efficientnet":
        assert size < 0.1 * every, "what is behind the deepest depth is left out"


def test_the_tensors_of_another_network_are_refused(cache: Path) -> None:
    from dataclasses import replace

    kept = kept_network(opened("timm", "test_efficientnet", cache), ("last",), "why")
    with pytest.raises((ValueError, RuntimeError, KeyError, AttributeError)):
        restored(replace(kept, architecture="test_resnet"))
    fewer = dict(kept.tensors)
    lost = next(iter(fewer))
    del fewer[lost]
    with pytest.raises(ValueError, match=lost.replace(".", r"\.")):
        restored(replace(kept, tensors=fewer))
