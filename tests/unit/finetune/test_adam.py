"""The same bits as torch's own AdamW, with a rate per tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.finetune.adam import BETAS, MOMENTS, Adam

RATES = (0.1, 0.01, 0.3)


def tensors() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3), (7,), (2, 3, 3, 3))]


def loss(parameters: list[nn.Parameter], step: int) -> Tensor:
    return torch.stack([(p * (i + 1) - 0.1 * step).sin().sum() for i, p in enumerate(parameters)]).sum()


def test_the_bits_are_those_of_torch() -> None:
    mine, theirs = tensors(), tensors()
    adam = Adam(list(zip(mine, RATES, strict=True)))
    groups = [{"params": [p], "full": rate} for p, rate in zip(theirs, RATES, strict=True)]
    torchs = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, weight_decay=0.0, fused=True)
    for step, share in enumerate((0.25, 0.5, 1.0, 1.0, 1.0)):
        adam.zero_grad()
        torchs.zero_grad(set_to_none=True)
        loss(mine, step).backward()
        loss(theirs, step).backward()
        adam.step(share)
        for group in torchs.param_groups:
            group["lr"] = group["full"] * share
        torchs.step()
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)
        assert all(torch.equal(adam.state[a][moment], torchs.state[b][moment]) for moment in MOMENTS)


def test_without_a_gradient_a_tensor_stays_and_has_no_state() -> None:
    moved, still = tensors()[:2]
    before = still.detach().clone()
    adam = Adam([(moved, 0.1), (still, 0.1)])
    moved.sum().backward()
    adam.step()
    assert torch.equal(still, before)
    assert list(adam.state) == [moved]
    adam.zero_grad()
    assert moved.grad is None
