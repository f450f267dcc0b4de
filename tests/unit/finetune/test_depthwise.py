"""Depthwise gives what torch's own convolution gives, forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from headstart.finetune.depthwise import Depthwise, replaceable

CHANNELS = 16
SHAPES = [(kernel, stride, same) for kernel in (3, 5) for stride in (1, 2) for same in (False, True)]


def convolution(kernel: int, stride: int, same: bool, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(kernel * 10 + stride)
    kind, padding = (Conv2dSame, 0) if same else (nn.Conv2d, kernel // 2)
    return kind(CHANNELS, CHANNELS, kernel, stride, padding, groups=CHANNELS, bias=bias)


def picture(height: int, width: int, kind: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(3, CHANNELS, height, width, generator=torch.Generator().manual_seed(height))
    return x.to(kind).contiguous(memory_format=torch.channels_last)


def pass_through(conv: nn.Module, x: torch.Tensor, bf16: bool = False) -> list[np.ndarray]:
    """Output and the gradients of input, weights and bias, for a loss that weighs every output differently."""
    conv.zero_grad()
    x = x.detach().clone().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = conv(x)
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape)
    (y.float() * weights).sum().backward()
    found = [y, x.grad, conv.weight.grad, *([conv.bias.grad] if conv.bias is not None else [])]
    return [t.detach().float().numpy().copy() for t in found]


@pytest.mark.parametrize(("kernel", "stride", "same"), SHAPES)
@pytest.mark.parametrize("size", [(14, 14), (9, 12), (7, 13)])
def test_fp32_is_that_of_torch(kernel: int, stride: int, same: bool, size: tuple[int, int]) -> None:
    conv = convolution(kernel, stride, same)
    expected = pass_through(conv, picture(*size))
    for ours, theirs in zip(pass_through(Depthwise(conv), picture(*size)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(("kernel", "stride", "same"), SHAPES)
def test_bf16_is_as_close_to_fp32_as_its_digits_allow(kernel: int, stride: int, same: bool) -> None:
    conv = convolution(kernel, stride, same)
    x = picture(11, 14, torch.bfloat16).float()
    with torch.no_grad():
        conv.weight.copy_(conv.weight.bfloat16())
    for ours, exact in zip(pass_through(Depthwise(conv), x, bf16=True), pass_through(conv, x), strict=True):
        assert np.abs(ours - exact).max() <= 0.01 * np.abs(exact).max()


def test_no_bias_and_inputs_that_need_no_gradient() -> None:
    conv = convolution(5, 2, same=False, bias=False)
    expected = pass_through(conv, picture(9, 9))
    np.testing.assert_allclose(pass_through(Depthwise(conv), picture(9, 9))[2], expected[2], rtol=1e-4, atol=1e-4)
    ours = Depthwise(conv)
    ours.zero_grad()
    ours(picture(9, 9)).sum().backward()
    assert ours.weight.grad.abs().sum() > 0
    ours.weight.requires_grad_(False)
    assert not ours(picture(9, 9)).requires_grad


def test_gradients_pass_a_frozen_kernel() -> None:
    conv = convolution(3, 2, same=True)
    conv.weight.requires_grad_(False)
    x, again = (picture(9, 9).requires_grad_(True) for _ in range(2))
    conv(x).sum().backward()
    ours = Depthwise(conv)
    ours(again).sum().backward()
    np.testing.assert_allclose(again.grad, x.grad, atol=1e-5)
    assert ours.weight.grad is None


def test_parameters_and_their_names_are_those_of_the_original() -> None:
    conv = convolution(3, 1, same=False)
    ours = Depthwise(conv)
    assert dict(ours.named_parameters()).keys() == {"weight", "bias"}
    assert ours.weight is conv.weight
    assert ours.bias is conv.bias


@pytest.mark.parametrize(
    ("why_not", "conv"),
    [
        ("not depthwise", nn.Conv2d(8, 8, 3, padding=1)),
        ("groups of two", nn.Conv2d(8, 8, 3, padding=1, groups=4)),
        ("two outputs per input", nn.Conv2d(8, 16, 3, padding=1, groups=8)),
        ("even kernel", nn.Conv2d(8, 8, 4, padding=2, groups=8)),
        ("oblong kernel", nn.Conv2d(8, 8, (3, 5), padding=(1, 2), groups=8)),
        ("dilated", nn.Conv2d(8, 8, 3, padding=1, groups=8, dilation=2)),
        ("stride 3", nn.Conv2d(8, 8, 3, 3, padding=1, groups=8)),
        ("unequal strides", nn.Conv2d(8, 8, 3, (1, 2), padding=1, groups=8)),
        ("other padding", nn.Conv2d(8, 8, 3, padding=2, groups=8)),
        ("padding that is not zeros", nn.Conv2d(8, 8, 3, padding=1, groups=8, padding_mode="reflect")),
        ("no convolution", nn.Linear(3, 3)),
    ],
)
def test_what_it_cannot_do_it_does_not_replace(why_not: str, conv: nn.Module) -> None:
    assert not replaceable(conv), why_not


def test_what_it_can_do_it_replaces() -> None:
    assert all(replaceable(convolution(*shape)) for shape in SHAPES)
