"""EfficientNet-Lite in plain torch, with the names of timm's modules: the networks that packages bring.

timm makes the same ones. Importing it takes seconds and 200 MB (with torchvision and torch's compiler, which it
pulls in), of every run that trains; a test compares the two layer by layer.
Tan and Le 2019 (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6: "lite", Google, March 2020
(github.com/tensorflow/tpu, models/official/efficientnet/lite). TensorFlow's padding and epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-3
_STEM, _LAST, _CLASSES = 32, 1280, 1000  # not scaled in a lite network
# kernel, stride, expansion, channels, blocks of each of the seven groups of the smallest network
_GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


@dataclass(frozen=True)
class _Scale:
    width: float
    depth: float


_SCALES = {
    "tf_efficientnet_lite0": _Scale(1.0, 1.0),
    "tf_efficientnet_lite1": _Scale(1.0, 1.1),
    "tf_efficientnet_lite2": _Scale(1.1, 1.2),
}


def known(architecture: str) -> bool:
    """Whether `build` can make it."""
    return architecture in _SCALES


def build(architecture: str) -> Any:
    """The network with its own classifier and random weights; uses the default device."""
    return Lite(_SCALES[architecture])


def same_padding(x: Tensor, kernel: int, stride: int) -> list[int]:
    """Left, right, top, bottom, so that ceil(size / stride) positions come out; the odd one goes to the end."""
    height, width = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
    return [width // 2, width - width // 2, height // 2, height - height // 2]


class Conv2dSame(nn.Conv2d):  # type: ignore[misc]
    """Square kernels, padded as TensorFlow does, which depends on the input's size."""

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)`."""
        x = functional.pad(x, same_padding(x, self.kernel_size[0], self.stride[0]))
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


class Norm(nn.BatchNorm2d):  # type: ignore[misc]
    """BatchNorm and the activation behind it."""

    def __init__(self, channels: int, active: bool = True) -> None:
        super().__init__(channels, eps=_EPS)
        self.act = nn.ReLU6(inplace=True) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)`."""
        found: Tensor = self.act(super().forward(x))
        return found


class Separable(nn.Module):  # type: ignore[misc]
    """The first block: a depthwise convolution and one of single pixels."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(before, before, kernel, stride, before)
        self.bn1 = Norm(before)
        self.conv_pw = _convolution(before, after)
        self.bn2 = Norm(after, active=False)
        self.skip = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """`(n, before, h, w)` to `(n, after, h / stride, w / stride)`."""
        y: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return y + x if self.skip else y


class Inverted(nn.Module):  # type: ignore[misc]
    """Inverted residual (Sandler et al. 2018): wider, depthwise, narrow again."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.conv_pw = _convolution(before, wide)
        self.bn1 = Norm(wide)
        self.conv_dw = _convolution(wide, wide, kernel, stride, wide)
        self.bn2 = Norm(wide)
        self.conv_pwl = _convolution(wide, after)
        self.bn3 = Norm(after, active=False)
        self.skip = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """`(n, before, h, w)` to `(n, after, h / stride, w / stride)`."""
        y: Tensor = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))))
        return y + x if self.skip else y


class Lite(nn.Module):  # type: ignore[misc]
    """Scaled pixels `(n, 3, side, side)` to logits `(n, 1000)`."""

    def __init__(self, scale: _Scale) -> None:
        super().__init__()
        self.conv_stem = _convolution(3, _STEM, 3, 2)
        self.bn1 = Norm(_STEM)
        groups, before = [], _STEM
        for i, (kernel, stride, expansion, channels, blocks) in enumerate(_GROUPS):
            after = _rounded(channels * scale.width)
            count = blocks if i in (0, len(_GROUPS) - 1) else ceil(blocks * scale.depth)
            made: list[nn.Module] = []
            for j in range(count):
                shape = (before if j == 0 else after, after, kernel, stride if j == 0 else 1)
                made.append(Separable(*shape) if expansion == 1 else Inverted(*shape, expansion))
            groups.append(nn.Sequential(*made))
            before = after
        self.blocks = nn.Sequential(*groups)
        self.conv_head = _convolution(before, _LAST)
        self.bn2 = Norm(_LAST)
        self.classifier = nn.Linear(_LAST, _CLASSES)

    def get_classifier(self) -> nn.Linear:
        """The head that is discarded, as timm's models name it."""
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        """All of it."""
        x = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(x)))))
        found: Tensor = self.classifier(x.mean((2, 3)))
        return found


def _convolution(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without bias; at stride 2 the padding depends on the input's size."""
    if stride > 1:
        return Conv2dSame(before, after, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False)


def _rounded(channels: float) -> int:
    """To a multiple of 8 that is at most a tenth smaller."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found
