"""AdamW with one learning rate per tensor.

Torch's own fused step, called as a function: what `torch.optim.AdamW` adds imports torch's compiler when it is made
first, some 900 modules, more than a second and 150 MB that training has no use for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS = (0.9, 0.99)
EPS = 1e-8
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Adam:
    """Loshchilov and Hutter 2019 (arXiv 1711.05101) without weight decay; `rates`: each tensor and its full rate.

    `state`: `MOMENTS` by tensor, of those that had a gradient.
    """

    def __init__(self, rates: Sequence[tuple[nn.Parameter, float]]) -> None:
        self.rates = list(rates)
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for parameter, _ in self.rates:
            parameter.grad = None

    def step(self, share: float = 1.0) -> None:
        """Move every tensor along its gradient, at `share` of its full rate; without a gradient it stays."""
        with torch.no_grad():
            for parameter, full in self.rates:
                if parameter.grad is None:
                    continue
                kept = self.state.setdefault(parameter, {}) or self._started(parameter)
                adamw(
                    [parameter],
                    [parameter.grad],
                    [kept["exp_avg"]],
                    [kept["exp_avg_sq"]],
                    [],
                    [kept["step"]],
                    fused=True,
                    amsgrad=False,
                    beta1=BETAS[0],
                    beta2=BETAS[1],
                    lr=full * share,
                    weight_decay=0.0,
                    eps=EPS,
                    maximize=False,
                )

    def _started(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        kept = self.state[parameter]
        kept["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        for moment in MOMENTS[1:]:
            kept[moment] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return kept
