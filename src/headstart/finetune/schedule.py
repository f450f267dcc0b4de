"""How fast which parameter moves at which step: relative rates, layer-wise decay, warm-up, averaging."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from headstart.finetune.tail import Tail

LEAST_SIZE = 1e-3  # biases may be zero; they move as if they were this large


@dataclass(frozen=True)
class Recipe:
    """How a tail is trained.

    `learning_rate` is relative: a step changes a tensor by about this share of its root mean square (Adafactor's
    relative step, Shazeer & Stern 2018), so one rate fits layers and networks of any scale. A stage learns
    `layer_decay` times as fast as the one above it. After a warm-up over `warm_up` epochs the rate is constant and the
    weights are averaged (EMA): then every epoch is a finished answer, comparable with any other and kept by an early
    stop, which a falling rate would not allow. No weight decay (BiT, Kolesnikov et al. 2020). `precision` is "bf16"
    (autocast, fp32 weights) or "fp32". `blend`: end halfway between start and end (WiSE-FT).
    """

    learning_rate: float
    epochs: int
    batch: int = 16
    layer_decay: float = 0.8
    warm_up: float = 1.0
    clip: float = 1.0
    precision: str = "bf16"
    blend: bool = False
    seed: int = 0


VERSION = "recipe-3"  # part of a race's fingerprint: units of another recipe are not read back


def full_rates(tail: Tail, recipe: Recipe) -> list[tuple[nn.Parameter, float]]:
    """Every trained tensor and its learning rate after the warm-up."""
    top = len(tail.network.stages())
    rates: list[tuple[nn.Parameter, float]] = []
    for name, parameter in tail.named_parameters():
        if not parameter.requires_grad:
            continue
        size = max(float(parameter.detach().square().mean().sqrt()), LEAST_SIZE)
        full = recipe.learning_rate * size * recipe.layer_decay ** (top - tail.stage_of(name))
        rates.append((parameter, full))
    return rates


def share_of_rate(step: int, per_epoch: int, recipe: Recipe) -> float:
    """The share of the full rate at `step` (0-based): rises over the warm-up, then 1."""
    warm = max(1.0, recipe.warm_up * per_epoch)
    return min(1.0, (step + 1) / warm)


def average_decay(step: int, per_epoch: int) -> float:
    """EMA decay after `step` steps: the horizon grows with the steps, up to two epochs."""
    return min(1.0 - 1.0 / (2.0 * per_epoch + 1.0), step / (step + 4.0))


class Average:
    """The running mean (EMA) of trained parameters."""

    def __init__(self, module: nn.Module) -> None:
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._mean = {name: p.detach().clone() for name, p in self._live.items()}

    def update(self, decay: float) -> None:
        """Take the parameters as they are now into the mean."""
        for name, parameter in self._live.items():
            self._mean[name].lerp_(parameter.detach(), 1.0 - decay)

    def forget(self) -> None:
        """Let go of both; of use no more."""
        self._live.clear()
        self._mean.clear()

    def swap(self) -> None:
        """Exchange the parameters and their mean; twice is as before."""
        for name, parameter in self._live.items():
            now = parameter.detach().clone()
            parameter.data.copy_(self._mean[name])
            self._mean[name].copy_(now)
