"""The tail: the part of the network behind a cut, and the head on the depths it reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.backbone.network import Network
from headstart.finetune.together import PIXELS
from headstart.finetune.trainable import tensors_of, trainable
from headstart.head.linear import LinearHead


def cut_of(train: str, depths: int) -> int:
    """Where training starts: the number of the first stage that is trained, of a network of `depths` depths.

    "last-k" trains the last k block groups and the final layer behind them; everything else starts at the pixels.
    """
    if train.startswith("last-"):
        return max(PIXELS, depths - 1 - int(train.removeprefix("last-")))
    return PIXELS


@dataclass(frozen=True)
class Trained:
    """What a training left: `tensors` for the exported graph (only those that may have changed), and the head."""

    tensors: dict[str, NDArray[np.float32]]
    head: LinearHead


class Tail(nn.Module):  # type: ignore[misc]
    """Feature maps at the cut and the pooled vectors of the depths below it, to logits.

    `depths`: positions the head reads, ascending. The head standardises as the given one does and then is linear; its
    weights are trained, its standardisation is not.
    """

    def __init__(self, network: Network, train: str, depths: tuple[int, ...], head: LinearHead, seed: int = 0) -> None:
        super().__init__()
        self.network = trainable(network, train, seed)
        self.cut, self.depths = cut_of(train, len(self.network.stages())), depths
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        left = _left_alone(self.network, train)
        for stage in self.stages():
            for name, parameter in stage.named_parameters():
                per_channel = name.rsplit(".", 1)[-1] in ("factor", "bias") or parameter.ndim <= 1
                parameter.requires_grad_(id(parameter) not in left and (train != "norms" or per_channel))
        self.register_buffer("mean", torch.tensor(np.asarray(head.mean), dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(np.asarray(head.scale), dtype=torch.float32))
        self.head = nn.Linear(head.weights.shape[1], head.weights.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor(np.asarray(head.weights)))
            self.head.bias.copy_(torch.tensor(np.asarray(head.bias)))

    @property
    def device(self) -> torch.device:
        """Where it is: the processor, or an accelerator it was moved to (CUDA and MPS were not run by us)."""
        return self.head.weight.device

    def stages(self) -> list[nn.Module]:
        """The stages behind the cut."""
        return self.network.stages()[self.cut :]

    def forward(self, maps: Tensor, vectors: Tensor) -> Tensor:
        """`maps` `(n, h, w, c)` at the cut (uint8 pixels at cut 0), `vectors` `(n, d)` below it, to logits `(n, K)`."""
        pooled = [vectors.float()]
        x = self.network.scaled(maps) if self.cut == PIXELS else maps.permute(0, 3, 1, 2).float()
        for depth, stage in enumerate(self.stages(), self.cut):
            if depth > self.depths[-1]:
                break
            x = stage(x)
            if depth in self.depths:
                pooled.append(x.float().mean((2, 3)))
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.head((torch.cat(pooled, 1) - self.mean) / self.scale)
        return logits

    def whole(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits `(n, K)` of uint8 pictures `(n, side, side, 3)` through the whole network, in fp32, past any cache."""
        self.eval()
        found = []
        with torch.inference_mode():
            for at in range(0, len(pixels), 16):
                x, pooled = self.network.scaled(torch.from_numpy(pixels[at : at + 16]).to(self.device)), []
                for depth, stage in enumerate(self.network.stages()):
                    x = stage(x)
                    if depth in self.depths:
                        pooled.append(x.mean((2, 3)))
                found.append(self.head((torch.cat(pooled, 1) - self.mean) / self.scale).cpu().numpy())
        return np.concatenate(found)

    def stage_of(self, name: str) -> int:
        """Which stage the trained parameter `name` belongs to (the head counts as one behind the last)."""
        wanted = dict(self.named_parameters())[name]
        for depth, stage in enumerate(self.stages(), self.cut):
            if any(parameter is wanted for parameter in stage.parameters()):
                return depth
        return len(self.network.stages())

    def trained(self) -> Trained:
        """The weights as they are now, for the exported graph, and the head."""
        changed = {id(p) for p in self.network.parameters() if p.requires_grad}
        names = {name.rsplit(".", 1)[0] for name, p in self.network.named_parameters() if id(p) in changed}
        tensors = tensors_of(self.network)
        kept = {k: v.float().cpu().numpy().copy() for k, v in tensors.items() if k.rsplit(".", 1)[0] in names}
        weights, bias, mean, scale = (t.detach().cpu().numpy().astype(np.float64) for t in self._head_tensors())
        return Trained(kept, LinearHead(weights, bias, mean, scale))

    def _head_tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.head.weight, self.head.bias, self.mean, self.scale


def _left_alone(network: Network, train: str) -> set[int]:
    """Parameters that are never trained.

    Attention biases of networks that read a cached copy of them (LeViT); in "norms" those of plain convolutions: the
    gradient of a bias alone crashes torch 2.14 at 1 x 1 kernels with stride 2.
    """
    cached = [m for m in network.modules() if hasattr(m, "attention_bias_cache")]
    found = {id(m.attention_biases) for m in cached if hasattr(m, "attention_biases")}
    if train == "norms":
        found |= {id(p) for m in network.modules() if isinstance(m, nn.Conv2d) for p in m.parameters()}
    return found
