"""Depthwise convolution whose backward pass is fast on CPUs.

In bfloat16 torch's own is slow for the gradient of the input at stride 2 and of a 5 x 5 kernel's weights. In the record
of `benchmarks/training_speed.py` this one is worth a factor of 1.4 for everything and 2.1 for the last two stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.backbone.lite import same_padding
from headstart.finetune.precision import as_autocast

_LAST = torch.channels_last


class Depthwise(nn.Conv2d):  # type: ignore[misc]
    """A drop-in for a depthwise Conv2d of stride 1 or 2 with its own padding, sharing its parameters and names.

    `same`: pad as TensorFlow does, which depends on the input's size (Conv2dSame, ours and timm's).
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        shape = conv.out_channels, conv.out_channels, conv.kernel_size, conv.stride
        super().__init__(*shape, groups=conv.out_channels, bias=conv.bias is not None, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.same = type(conv).__name__ == "Conv2dSame"
        self.pad = 0 if self.same else int(conv.padding[0])

    def forward(self, x: Tensor) -> Tensor:
        """Channels-last in and out; in bfloat16 under autocast."""
        x, weight = as_autocast(x), as_autocast(self.weight)
        bias = None if self.bias is None else as_autocast(self.bias)
        stride = self.stride[0]
        edges = same_padding(x, weight.shape[2], stride) if self.same else None
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            found: Tensor = _Convolution.apply(x, weight, bias, _Place(stride, self.pad, edges))
            return found
        return functional.conv2d(_padded(x, edges), weight, bias, stride, self.pad, 1, len(weight))


def replaceable(conv: nn.Module) -> bool:
    """Whether `Depthwise` does what this convolution does, and is any faster: odd square kernels on a CPU."""
    if type(conv).__name__ not in ("Conv2d", "Conv2dSame"):  # others change their weights on the way
        return False
    if not isinstance(conv, nn.Conv2d) or conv.groups == 1 or conv.groups != conv.in_channels:
        return False
    k = conv.kernel_size[0]
    padded = type(conv).__name__ == "Conv2dSame" or conv.padding in ((0, 0), (k // 2, k // 2))
    padded = padded and conv.padding_mode == "zeros"
    plain = conv.kernel_size in ((3, 3), (5, 5)) and conv.stride in ((1, 1), (2, 2)) and conv.dilation == (1, 1)
    return conv.out_channels == conv.in_channels and conv.weight.device.type == "cpu" and plain and padded


class _Place(NamedTuple):
    """Where a kernel is put. `edges`: zeros (left, right, top, bottom) around the input, beside those of `padding`."""

    stride: int
    padding: int
    edges: list[int] | None


class _Convolution(torch.autograd.Function):  # type: ignore[misc]
    """`edges` are put on anew in the backward pass: the input as it came is remembered by the layer before anyway.

    Of an input that only frozen weights see, the size is all that is remembered.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, place: _Place) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.place, ctx.size = place, x.shape[2:]
        padded = _padded(x, place.edges)
        return functional.conv2d(padded, weight, bias, place.stride, place.padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), place = ctx.saved_tensors, ctx.place
        gradient = gradient.contiguous(memory_format=_LAST)
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        return (
            _of_input(ctx.size, weight, gradient, place) if wants_x else None,
            _of_weight(_padded(x, place.edges), weight, gradient, place.stride, place.padding)
            if wants_weight
            else None,
            gradient.sum((0, 2, 3)) if wants_bias else None,
            None,
        )


def _padded(x: Tensor, edges: list[int] | None) -> Tensor:
    return x if edges is None else functional.pad(x, edges)


def _of_input(size: Sequence[int], weight: Tensor, gradient: Tensor, place: _Place) -> Tensor:
    """For an input of `size` (height, width): a convolution with the kernel turned by 180 degrees.

    At stride 2 zeros are put between the gradients first.
    """
    kernel, stride, padding = weight.shape[2], place.stride, place.padding
    left, right, top, bottom = place.edges or (0, 0, 0, 0)
    if stride > 1:
        height, width = (n + 2 * padding - kernel + 1 for n in (size[0] + top + bottom, size[1] + left + right))
        spread = gradient.new_zeros((len(gradient), len(weight), height, width))
        spread = spread.contiguous(memory_format=_LAST)
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    found = functional.conv2d(gradient, weight.flip(2, 3), None, 1, kernel - 1 - padding, 1, len(weight))
    if place.edges is None:
        return found
    return found[:, :, top : top + size[0], left : left + size[1]].contiguous(memory_format=_LAST)


def _of_weight(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    """In bfloat16 only 3 x 3 kernels are fast: a 5 x 5 one is put together from four, shifted by two."""
    if weight.shape[2] == 3 or gradient.dtype != torch.bfloat16:
        return _weight_gradient(x, weight, gradient, stride, padding)
    padded = functional.pad(x, [padding] * 4)
    height, width = (stride * (n - 1) + 3 for n in gradient.shape[2:])
    found = torch.empty_like(weight)
    for top in (0, 2):
        for left in (0, 2):
            window = padded[:, :, top : top + height, left : left + width].contiguous(memory_format=_LAST)
            part = _weight_gradient(window, weight[:, :, :3, :3], gradient, stride, 0)
            found[:, :, top : top + 3, left : left + 3] = part
    return found


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor, stride: int, padding: int) -> Tensor:
    needed = [False, True, False]
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), needed
    )
    return found[1]
