"""The backbone as a torch module: pixels in, one pooled vector per depth and the discarded head's logits out."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from headstart.backbone.build import build
from headstart.backbone.folding import folded
from headstart.backbone.source import Shape, Source
from headstart.backbone.stages import classifier_of, stages_of
from headstart.backbone.tensors import load_tensors
from headstart.errors import MachineError


class Network(nn.Module):  # type: ignore[misc]
    """uint8 `(n, side, side, 3)` to `(depth vectors (n, dim)..., source_logits (n, classes))`, in `output_names` order.

    `body` is the pretrained module with its own head in place; without a head that is known there are no source_logits.
    """

    def __init__(self, body: Any, shape: Shape) -> None:
        super().__init__()
        self.body = body
        self.shape = shape
        self.side = shape.side
        self.scratch = False  # whether its BatchNorm layers learn statistics of their own
        names = tuple(name for name, _ in shape.depths)
        self.output_names = (*names, "source_logits") if shape.classes else names
        middle, unit = ([255.0 * v for v in values] for values in (shape.mean, shape.std))
        self.plain = (middle[0], unit[0]) if len(set(middle)) == len(set(unit)) == 1 else None
        if self.plain is None:
            self.register_buffer("middle", torch.tensor(middle, device="cpu").view(1, 3, 1, 1), persistent=False)
            self.register_buffer("unit", torch.tensor(unit, device="cpu").view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """All depths in one pass; vectors are means over the positions of the stage's map."""
        x = self.scaled(images)
        vectors = []
        for stage in self.stages():
            x = stage(x)
            vectors.append(x.mean((2, 3)))
        if not self.shape.classes:
            return tuple(vectors)
        return (*vectors, classifier_of(self.body)(vectors[-1]))  # type: ignore[misc]

    def stages(self) -> list[nn.Module]:
        """One module per depth, each from the feature map of the one before (the first from scaled pixels) to its own.

        They share the parameters of `body`; the mean of a stage's map over the positions is the vector of its depth.
        """
        return stages_of(self.body, self.shape.plan)

    def scaled(self, images: Tensor) -> Tensor:
        """What the first stage takes: uint8 `(n, side, side, 3)` as float32 `(n, 3, side, side)`, channels last."""
        x = images.permute(0, 3, 1, 2).float()
        if self.plain is not None:
            return (x - self.plain[0]) / self.plain[1]
        found: Tensor = (x - self.middle.to(x.device)) / self.unit.to(x.device)
        return found


def load_network(source: Source, cache: Path) -> Network:
    """The pretrained network of `source` in evaluation mode; dropout is off, every parameter can still be trained."""
    tensors = load_file(load_tensors(source, cache))
    # Buffers that no file holds (positions, windows) are made with the module: only the packages' networks have none.
    with torch.device("meta") if source.reader == "package" else nullcontext():
        body = build(source.family, source.architecture)
    network = Network(body, source.shape)
    network.eval()
    if source.reader == "run":  # a run keeps what is left after folding
        network = folded(network)
    missing, unexpected = network.body.load_state_dict(tensors, strict=False, assign=True)
    _refuse(source, network, [name for name in missing if not name.endswith("num_batches_tracked")], unexpected)
    network.eval()
    if source.own:
        _try_side(source, network)
    return network


def _try_side(source: Source, network: Network) -> None:
    """MachineError for a network that is not convolutional all through: its windows or positions fit one side only."""
    try:
        with torch.no_grad():
            network(torch.zeros((1, source.side, source.side, 3), dtype=torch.uint8, device="cpu"))
    except (RuntimeError, AssertionError, ValueError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise MachineError(
            f"{source.network} does not take pictures of {source.side} pixels ({why}): leave @{source.side} away"
        ) from None


def _refuse(source: Source, network: Network, missing: list[str], unexpected: list[str]) -> None:
    """MachineError unless everything the stages read is there; only a discarded head may be missing."""
    owned = {id(t) for stage in network.stages() for t in (*stage.parameters(), *stage.buffers())}
    body = {**dict(network.body.named_parameters()), **dict(network.body.named_buffers())}
    lost = [name for name in missing if id(body[name]) in owned]
    if lost or unexpected:
        what = f"has no {lost[0]!r}" if lost else f"holds {unexpected[0]!r}, which {source.architecture} does not know"
        raise MachineError(f"the weights of {source.name} {what}: they are of another network or another version")
