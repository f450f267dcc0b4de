"""The part of a network that a classifier keeps when only torch can run it, and the module made from it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headstart.artefact import TorchNetwork
from headstart.backbone.backbone import Backbone
from headstart.backbone.build import build
from headstart.backbone.graph_maps import map_name
from headstart.backbone.network import Network
from headstart.backbone.source import Shape


def kept_network(backbone: Backbone, depths: Sequence[str], why: str) -> TorchNetwork:
    """What `depths` of `backbone` depend on, ready to be saved; `why`: why there is no graph. Floats become float32."""
    import timm
    import torchvision

    source, network = backbone.source, backbone.torch_module()
    shape = _up_to(source.shape, depths)
    read = {id(p) for stage in Network(network.body, shape).stages() for p in stage.parameters()}
    behind = {name for name, parameter in network.body.named_parameters() if id(parameter) not in read}
    tensors = {
        name: tensor.detach().float().numpy() if tensor.is_floating_point() else tensor.numpy()
        for name, tensor in network.body.state_dict().items()
        if name not in behind and not name.endswith("num_batches_tracked")
    }
    made_by = {"torch": torch.__version__, "timm": timm.__version__, "torchvision": torchvision.__version__}
    return TorchNetwork(source.family, source.architecture, _plain(shape), why, made_by, tensors)


def restored(kept: TorchNetwork) -> Network:
    """The network in evaluation mode, from its depths' first to its last.

    Raises MachineError (the installed timm or torchvision cannot make it); RuntimeError, ValueError, KeyError,
    AttributeError or TypeError (the tensors or the shape belong to another network).
    """
    network = Network(build(kept.family, kept.architecture), Shape.from_json(dict(kept.shape)))
    given = {name: torch.from_numpy(np.array(tensor)) for name, tensor in kept.tensors.items()}
    missing, unexpected = network.body.load_state_dict(given, strict=False, assign=True)
    read = {id(t) for stage in network.stages() for t in (*stage.parameters(), *stage.buffers())}
    own = {**dict(network.body.named_parameters()), **dict(network.body.named_buffers())}
    lost = [name for name in missing if id(own[name]) in read and not name.endswith("num_batches_tracked")]
    if lost or unexpected:
        raise ValueError(f"tensor {(*lost, *unexpected)[0]!r} is missing or belongs to another network")
    network.eval()
    return network


class WithMaps(nn.Module):  # type: ignore[misc]
    """A network that gives the vectors of its depths, and for `depths` the feature map (n, C, H, W) of each as well."""

    def __init__(self, network: Network, depths: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.side = network.side
        self._names = [name for name, _ in network.shape.depths]
        self._wanted = tuple(depths)
        self.output_names = (*self._names, *map(map_name, depths))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Uint8 `(n, side, side, 3)` to the outputs in the order of `output_names`."""
        x, maps = self.network.scaled(images), {}
        for name, stage in zip(self._names, self.network.stages(), strict=True):
            x = maps[name] = stage(x)
        vectors = tuple(x.mean((2, 3)) for x in maps.values())
        return (*vectors, *(maps[name] for name in self._wanted))


def _up_to(shape: Shape, depths: Sequence[str]) -> Shape:
    """`shape` up to the deepest of `depths`, without the discarded head."""
    names = [name for name, _ in shape.depths]
    end = max(names.index(name) for name in depths) + 1
    plan = shape.plan
    if end < len(names):
        plan = replace(plan, groups=plan.groups[:end], pooled=False, rest=())
    return replace(shape, depths=shape.depths[:end], plan=plan, classes=0)


def _plain(shape: Shape) -> dict[str, Any]:
    """As JSON gives it back: lists instead of tuples."""
    import json

    return dict(json.loads(json.dumps(shape.to_json())))
