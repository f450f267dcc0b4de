"""Layers that remember less give the gradients of torch's own, and remember nothing twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.finetune.depthwise import Depthwise
from headstart.finetune.sparing import Relu6, Scaled

Gradients = list[Tensor]


def convolution(groups: int = 1, same: bool = False) -> nn.Conv2d:
    """4 channels to 4, frozen; with `groups` one that headstart replaces."""
    torch.manual_seed(groups)
    conv = nn.Conv2d(4, 4, 3, 2, 1, groups=groups)
    conv.weight.requires_grad_(False)
    if groups == 1:
        return conv
    ours = Depthwise(conv)
    if same:
        ours.same, ours.pad = True, 0
    return ours


def scaled(conv: nn.Conv2d) -> Scaled:
    ours = Scaled(conv)
    with torch.no_grad():
        ours.factor.copy_(torch.tensor([0.5, -2.0, 0.0, 9.0]).view(4, 1, 1, 1))
        ours.bias.copy_(torch.tensor([0.1, 2.0, 3.0, -1.0]))
    return ours


def picture(height: int = 9) -> Tensor:
    torch.manual_seed(height)
    return (torch.randn(2, 4, height, height) * 2).contiguous(memory_format=torch.channels_last)


def gradients(out: Tensor, *of: Tensor) -> Gradients:
    """Of a loss that weighs every output differently."""
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return list(torch.autograd.grad((out.float() * weights).sum(), of))


def test_scaled_is_factor_times_convolution_plus_bias() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3)
    x = torch.randn(2, 4, 5, 5)
    plain = nn.functional.conv2d(x, conv.weight)
    ours = Scaled(conv)
    with torch.no_grad():
        ours.factor.uniform_(0.5, 2)
    expected = plain * ours.factor.view(1, -1, 1, 1) + ours.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(ours(x), expected)
    assert {name for name, _ in ours.named_parameters()} == {"weight", "bias", "factor"}


def test_relu6_passes_the_gradient_that_torch_passes() -> None:
    """Also on the edges, 0 and 6, which its output alone cannot tell from what was cut."""
    values = torch.tensor([-3.0, -0.0, 0.0, 1e-6, 2.5, 6.0, 7.0])
    ours, torchs = (values.clone().requires_grad_() for _ in range(2))
    upstream = torch.arange(1.0, 8.0)
    Relu6()(ours * 1).backward(upstream)
    functional.hardtanh(torchs, 0.0, 6.0).backward(upstream)
    assert torch.equal(ours.grad, torchs.grad)
    assert ours.grad[3:5].tolist() == [4.0, 5.0] and ours.grad[6] == 0


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("after", [Relu6(), nn.Identity(), nn.Hardswish(inplace=True), nn.Sequential(Relu6(), Relu6())])
def test_scaled_and_what_follows_pass_the_gradients_of_torch(groups: int, after: nn.Module) -> None:
    ours = scaled(convolution(groups))
    x, again = (picture().requires_grad_() for _ in range(2))
    found = gradients(after(ours(x * 1)), x, ours.factor, ours.bias)

    conv, factor, bias = convolution(groups), ours.factor, ours.bias
    y = functional.conv2d(again * 1, conv.weight, None, 2, 1, 1, groups) * factor.view(1, -1, 1, 1)
    y = y + bias.view(1, -1, 1, 1)
    usual: Callable[[Tensor], Tensor] = after if isinstance(after, nn.Identity) else functional.hardswish
    if any(isinstance(module, Relu6) for module in after.modules()):
        usual = functional.relu6
    expected = gradients(usual(y), again, factor, bias)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert all(g.abs().sum() > 0 for g in found)


def test_a_sum_in_place_between_scaled_and_relu6_counts() -> None:
    """As in a residual block: the tensor is the same object, its content is not."""
    ours, x, beside = scaled(convolution()), picture().requires_grad_(), picture(5)
    out = ours(x * 1)
    out += beside
    found = gradients(Relu6()(out), ours.factor)
    y = functional.conv2d(x, ours.weight, None, 2, 1)
    usual = functional.relu6(torch.addcmul(ours.bias.view(1, -1, 1, 1), y, ours.factor.view(1, -1, 1, 1)) + beside)
    torch.testing.assert_close(found, gradients(usual, ours.factor))


def test_bf16_is_as_close_to_fp32_as_its_digits_allow() -> None:
    ours, x = scaled(convolution()), picture(15).bfloat16().float().requires_grad_()
    with torch.no_grad():
        ours.weight.copy_(ours.weight.bfloat16())
    exact = gradients(Relu6()(ours(x * 1)), x, ours.factor, ours.bias)
    with torch.autocast("cpu", torch.bfloat16):
        out = Relu6()(ours(x * 1))
    assert out.dtype == torch.bfloat16
    for close, theirs in zip(gradients(out, x, ours.factor, ours.bias), exact, strict=True):
        assert (close - theirs).abs().max() <= 0.02 * theirs.abs().max()


def remembered(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Maps (all of two pictures) that are kept for the way back, which then is walked."""
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = network(x)
    out.sum().backward()
    return [t for t in kept if t.ndim == 4 and t.shape[0] == 2]


@pytest.mark.parametrize("same", [False, True])
def test_nothing_is_remembered_twice(same: bool) -> None:
    """What a clamp and the depthwise convolution behind it need for the way back is one and the same tensor."""
    behind = convolution(4, same).requires_grad_()
    maps = remembered(nn.Sequential(Relu6(), behind), picture().requires_grad_() * 1)
    assert len(maps) == 2 and maps[0].data_ptr() == maps[1].data_ptr()


@pytest.mark.parametrize(("groups", "same"), [(1, False), (4, False), (4, True)])
def test_frozen_weights_need_one_map_a_layer(groups: int, same: bool) -> None:
    """The output of the convolution; neither its input nor what ReLU6 cuts."""
    layers = [module for _ in range(3) for module in (scaled(convolution(groups, same)), Relu6())]
    maps = remembered(nn.Sequential(*layers), picture(17).requires_grad_() * 1)
    assert len({t.data_ptr() for t in maps}) == 3
