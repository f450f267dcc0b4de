"""Every machine must see through the same network: same weights, same graph, same preprocessing."""

from __future__ import annotations

from typing import Any

from headstart.backbone.backbone import Backbone, open_backbone
from headstart.errors import MachineError


def same_backbone(name: str, key: str, weights_hash: str, preprocessing: dict[str, Any]) -> Backbone:
    """The network `name` of this machine. MachineError when it is another one than was told."""
    backbone = open_backbone(name)
    if (backbone.key, backbone.weights_hash, backbone.preprocessing.to_json()) != (key, weights_hash, preprocessing):
        raise MachineError(
            f"backbone {name} on this machine is another than the work was begun with: install the same version of "
            "headstart and of the weights on every machine"
        )
    return backbone
