"""LayeredHead: what extra layers after the frozen ones become, once trained. Numpy only, like the linear heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.head.linear import LinearHead

FloatArray = NDArray[np.floating]

MOST_HIDDEN = 8  # layers; a limit for what is read from files and asked for, not a recommendation
_BLOCK = 2048


@dataclass(frozen=True)
class Dense:
    """An affine layer: `x @ weights.T + bias`; `weights` `(out, in)`, `bias` `(out,)`."""

    weights: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            raise ValueError(f"the weights of a layer are a matrix (out, in), not {self.weights.shape}")
        if self.bias.shape != self.weights.shape[:1]:
            raise ValueError(f"a layer of {self.weights.shape} weights needs one bias per row, not {self.bias.shape}")


@dataclass(frozen=True)
class LayeredHead:
    """Standardise, then hidden layers with ReLU, then a linear map to K logits.

    `mean` and `scale` `(d,)`, scale never zero; the first layer takes d features, each next one what the one before
    gives. Dropout and BatchNorm exist only in training: the latter is folded into these layers.
    """

    hidden: tuple[Dense, ...]
    last: Dense
    mean: FloatArray
    scale: FloatArray

    def __post_init__(self) -> None:
        if not 1 <= len(self.hidden) <= MOST_HIDDEN:
            raise ValueError(f"a layered head has 1 to {MOST_HIDDEN} hidden layers, not {len(self.hidden)}")
        d = self.hidden[0].weights.shape[1]
        if self.mean.shape != (d,) or self.scale.shape != (d,):
            raise ValueError(f"a head on {d} features needs as many means and scales, not {self.mean.shape}")
        if not np.all(self.scale > 0):
            raise ValueError("every scale of a head must be positive")
        width = d
        for at, layer in enumerate((*self.hidden, self.last)):
            if layer.weights.shape[1] != width:
                raise ValueError(f"layer {at} of a head takes {layer.weights.shape[1]} numbers, but gets {width}")
            width = len(layer.bias)

    def folded(self) -> tuple[Dense, ...]:
        """All layers in float64 for raw features, the last one included: the standardisation folded in."""
        first, *others = (*self.hidden, self.last)
        weights = np.asarray(first.weights, np.float64) / np.asarray(self.scale, np.float64)
        bias = np.asarray(first.bias, np.float64) - weights @ np.asarray(self.mean, np.float64)
        wide = [Dense(np.asarray(o.weights, np.float64), np.asarray(o.bias, np.float64)) for o in others]
        return (Dense(weights, bias), *wide)

    def logits(self, X: FloatArray) -> FloatArray:
        """Float32 logits `(n, K)` of features `(n, d)`; works in blocks of rows, so float16 input stays small."""
        if X.ndim != 2 or X.shape[1] != len(self.mean):
            raise ValueError(f"this head takes rows of {len(self.mean)} features, not {X.shape}")
        layers = [
            (np.asarray(layer.weights, np.float32).T, np.asarray(layer.bias, np.float32))
            for layer in (*self.hidden, self.last)
        ]
        mean, scale = np.asarray(self.mean, np.float32), np.asarray(self.scale, np.float32)
        out = np.empty((len(X), len(self.last.bias)), np.float32)
        for start in range(0, len(X), _BLOCK):
            block = (np.asarray(X[start : start + _BLOCK], np.float32) - mean) / scale
            for weights, bias in layers[:-1]:
                block = np.maximum(block @ weights + bias, 0)
            out[start : start + _BLOCK] = block @ layers[-1][0] + layers[-1][1]
        return out


Head = LinearHead | LayeredHead


def layers_of(head: Head) -> tuple[Dense, ...]:
    """The float64 affine layers of a head on raw features, ReLU between two of them: one layer for a linear head."""
    return (Dense(*head.folded()),) if isinstance(head, LinearHead) else head.folded()


def cooled(head: Head, temperature: float) -> Head:
    """The head with its logits divided by a temperature above 0."""
    if isinstance(head, LinearHead):
        return LinearHead(head.weights / temperature, head.bias / temperature, head.mean, head.scale)
    last = Dense(head.last.weights / temperature, head.last.bias / temperature)
    return LayeredHead(head.hidden, last, head.mean, head.scale)


def tensors_of(head: Head) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors that are stored.

    `weights`, `bias`, `mean`, `scale`; for a layered head also `hidden0.weights`, `hidden0.bias` and so on.
    """
    last: LinearHead | Dense = head if isinstance(head, LinearHead) else head.last
    hidden: Sequence[Dense] = () if isinstance(head, LinearHead) else head.hidden
    tensors = {"weights": last.weights, "bias": last.bias, "mean": head.mean, "scale": head.scale}
    for at, layer in enumerate(hidden):
        tensors |= {f"hidden{at}.weights": layer.weights, f"hidden{at}.bias": layer.bias}
    return {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
