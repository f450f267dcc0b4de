"""Layers that remember less for the backward pass than torch's own, and give the same gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.finetune.precision import as_autocast

_HIGHEST = 6.0


class Scaled(nn.Module):  # type: ignore[misc]
    """A convolution whose weights stay, times a trained `factor` per channel, with a trained bias.

    It remembers the convolution's output only: the input is needed for the gradient of the weights, which stay.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.factor = nn.Parameter(torch.ones(len(conv.weight), 1, 1, 1))
        conv.bias = None
        self.__dict__["_conv"] = conv  # not as a child: the weights keep their names

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution; the factor multiplies its output, which spares the gradient of the weights."""
        y = self._convolved(x)
        factor = self.factor.view(-1)
        if not (torch.is_grad_enabled() and self.factor.requires_grad):
            return _scaled(y, factor, self.bias)
        found: Tensor = _Scale.apply(y, factor, self.bias)
        found.made_of = found._version, (y, factor, self.bias)  # for a ReLU6 behind it, which then remembers nothing
        return found

    def _convolved(self, x: Tensor) -> Tensor:
        """Torch would remember an input that nothing needs (a `Depthwise` does not)."""
        plain = type(self._conv) is nn.Conv2d and self._conv.padding_mode == "zeros"
        if plain and torch.is_grad_enabled() and x.requires_grad and not self.weight.requires_grad:
            return cast(Tensor, _Frozen.apply(as_autocast(x), as_autocast(self.weight), self._conv))
        return cast(Tensor, self._conv(x))


class Relu6(nn.Module):  # type: ignore[misc]
    """In place; its backward is one pass where that of `clamp` is five: half of a training step was spent there."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` cut to 0..6. Remembers its output, or nothing behind a `Scaled`."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return functional.hardtanh_(x, 0.0, _HIGHEST)
        version, made_of = getattr(x, "made_of", (None, ()))
        untouched = x._version == version  # nothing was added to it in place
        return cast(Tensor, _ScaledCut.apply(*made_of, [x.detach()]) if untouched else _Cut.apply(x))


class _Cut(torch.autograd.Function):  # type: ignore[misc]
    """`hardtanh_` from 0 to 6 that remembers its output, which the next layer remembers anyway.

    Torch's own remembers a copy of its input: 106 of 309 MB for eight pictures through all of EfficientNet-Lite1
    in bf16 (by hand).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        found = functional.hardtanh_(x, 0.0, _HIGHEST)
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (found,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, found, 0.0, _HIGHEST)
        return passed


class _Scale(torch.autograd.Function):  # type: ignore[misc]
    """`bias + y * factor` per channel: BatchNorm with a mean of 0 and a variance of 1.

    Its kernel makes all three gradients in one go and sums them in float32, in half of the time that multiplying and
    summing takes (by hand).
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(y, factor)
        return _scaled(y, factor, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, factor = ctx.saved_tensors
        return _of_scaled(gradient, y, factor, ctx.needs_input_grad)


class _ScaledCut(torch.autograd.Function):  # type: ignore[misc]
    """`hardtanh_` of `_Scale`, which is worked out anew on the way back: only `y` is remembered."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, factor: Tensor, bias: Tensor, scaled: list[Tensor]) -> Tensor:
        """`scaled`: their `_Scale`, in a list because it is overwritten and its gradient goes to the others."""
        ctx.save_for_backward(y, factor, bias)
        return functional.hardtanh_(scaled[0], 0.0, _HIGHEST)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        y, factor, bias = ctx.saved_tensors
        passed = _scaled(y, factor, bias)
        torch.ops.aten.hardtanh_backward.grad_input(gradient, passed, 0.0, _HIGHEST, grad_input=passed)
        return *_of_scaled(passed, y, factor, ctx.needs_input_grad), None


def _scaled(y: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten.native_batch_norm(y, factor, bias, *_untouched(factor), False, 0.0, 0.0)[0]
    return found


def _of_scaled(gradient: Tensor, y: Tensor, factor: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    statistics = _untouched(factor) * 2
    found: tuple[Tensor | None, ...] = torch.ops.aten.native_batch_norm_backward(
        gradient.contiguous(memory_format=torch.channels_last), y, factor, *statistics, False, 0.0, list(wanted[:3])
    )
    return found


def _untouched(factor: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance that change nothing."""
    return torch.zeros_like(factor), torch.ones_like(factor)


class _Frozen(torch.autograd.Function):  # type: ignore[misc]
    """A convolution whose weights get no gradient: of its input it remembers the shape."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, conv: nn.Conv2d) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.conv = x.shape, conv
        return functional.conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), conv = ctx.saved_tensors, ctx.conv
        like = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
        place = (list(conv.stride), list(conv.padding), list(conv.dilation))
        needed = [True, False, False]
        found = torch.ops.aten.convolution_backward(
            gradient, like, weight, None, *place, False, [0, 0], conv.groups, needed
        )
        return found[0], None, None
