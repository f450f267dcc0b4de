"""LinearHead: what every head in this package becomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class LinearHead:
    """Standardise, then a linear map: `logits(X) = ((X - mean) / scale) @ weights.T + bias`.

    `weights` `(K, d)`, `bias` `(K,)`, `mean` and `scale` `(d,)`; scale is never zero.
    """

    weights: FloatArray
    bias: FloatArray
    mean: FloatArray
    scale: FloatArray

    def __post_init__(self) -> None:
        k, d = self.weights.shape
        if self.bias.shape != (k,) or self.mean.shape != (d,) or self.scale.shape != (d,):
            raise ValueError(
                f"a head of {k} x {d} weights needs {k} biases and {d} means and scales, "
                f"not {self.bias.shape}, {self.mean.shape}, {self.scale.shape}"
            )
        if not np.all(self.scale > 0):
            raise ValueError("every scale of a head must be positive")

    def folded(self) -> tuple[FloatArray, FloatArray]:
        """Float64 weights `(K, d)` and bias `(K,)` for raw features: the standardisation folded in."""
        weights = np.asarray(self.weights, np.float64) / np.asarray(self.scale, np.float64)
        return weights, np.asarray(self.bias, np.float64) - weights @ np.asarray(self.mean, np.float64)

    def logits(self, X: FloatArray) -> FloatArray:
        """Float32 logits `(n, K)` of features `(n, d)`; works in blocks of rows, so float16 input stays small."""
        if X.ndim != 2 or X.shape[1] != self.weights.shape[1]:
            raise ValueError(f"this head takes rows of {self.weights.shape[1]} features, not {X.shape}")
        weights = (np.asarray(self.weights, np.float64).T).astype(np.float32)
        bias = np.asarray(self.bias, np.float32)
        mean, scale = np.asarray(self.mean, np.float32), np.asarray(self.scale, np.float32)
        out = np.empty((len(X), len(bias)), np.float32)
        for start in range(0, len(X), _BLOCK):
            block = (np.asarray(X[start : start + _BLOCK], np.float32) - mean) / scale
            out[start : start + _BLOCK] = block @ weights + bias
        return out


_BLOCK = 2048
