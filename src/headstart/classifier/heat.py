"""Class activation maps in closed form: which places of a picture speak for a class. Arrays only.

A vector is the mean of a feature map over its positions, and the head is linear in it (with extra layers: linear for
one picture, given the units that are active in it). So what sets a class apart is a mean over positions of
`w . (map - training mean)`: exact, no gradients, no second pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from headstart.head.layered import Dense

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

FINEST = 14  # positions a side: finer maps come from early depths, whose single positions say little
MOST_PREFIX = 9  # tokens in front of the patches: class token, distillation token, registers


def weights_for(layers: Sequence[Dense], features: FloatArray, classes: IntArray) -> FloatArray:
    """What a unit of every raw feature adds to the logit of `classes` `(n,)`, float64 `(n, d)`.

    Relative to the mean of all classes: what adds to every class alike changes no probability. `layers`: the head as
    affine layers on raw `features` `(n, d)`, ReLU between two of them; units that are off in a picture count nothing.
    """
    last = np.asarray(layers[-1].weights, np.float64)
    found = (last - last.mean(axis=0))[classes]
    values, active = np.asarray(features, np.float64), []
    for layer in layers[:-1]:
        values = np.maximum(values @ layer.weights.T + layer.bias, 0)
        active.append(values > 0)
    for layer, on in zip(reversed(layers[:-1]), reversed(active), strict=True):
        found = (found * on) @ layer.weights
    return np.asarray(found)


def evidence(maps: FloatArray, weights: FloatArray, mean: FloatArray) -> FloatArray:
    """Evidence of one depth at every position: `weights . (map - mean)`, float32 `(n, h, w)`.

    `maps` `(n, C, h, w)`, `weights` `(n, C)`, `mean` `(C,)` over the training pictures. Its mean over the positions is
    what the depth adds to the logit.
    """
    n, channels, height, width = maps.shape
    flat = np.asarray(maps, np.float32).reshape(n, channels, height * width)
    rows = np.asarray(weights, np.float32)
    found = np.matmul(rows[:, None, :], flat)[:, 0] - (weights @ mean).astype(np.float32)[:, None]
    return np.asarray(found.reshape(n, height, width))


def on_one_grid(parts: Sequence[FloatArray]) -> FloatArray:
    """The sum of several evidence maps `(n, h_i, w_i)` on the finest of their grids, at most 14 x 14."""
    height, width = (min(FINEST, max(part.shape[axis] for part in parts)) for axis in (1, 2))
    total = np.zeros((len(parts[0]), height, width), np.float32)
    for part in parts:
        total += _resizing(part.shape[1], height) @ part @ _resizing(part.shape[2], width).T
    return total


def heat_of(total: FloatArray) -> NDArray[np.float32]:
    """Heat 0..1 `(n, h, w)` of evidence: what lies above the picture's own mean, the strongest place being 1.

    What speaks for the class everywhere alike (such as something that is absent) says nothing about where.
    """
    above = np.maximum(total - total.mean(axis=(1, 2), keepdims=True), 0)
    strongest = above.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.divide(above, strongest, out=np.zeros_like(above), where=strongest > 0), np.float32)


def grid_of(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Rows, columns and leading tokens of a map of `shape` (..., h, w); None when it has no places to speak of.

    A transformer's tokens travel as a map of height 1: the patches are a square, in front of them stand a few others.
    """
    height, width = shape[-2:]
    if height > 1 and width > 1:
        return height, width, 0
    tokens = height * width
    side = int(tokens**0.5)
    return (side, side, tokens - side * side) if side > 1 and tokens - side * side <= MOST_PREFIX else None


def as_map(maps: FloatArray) -> FloatArray:
    """`maps` `(n, C, h, w)` with the places that `grid_of` finds; leading tokens are dropped."""
    grid = grid_of(maps.shape)
    if grid is None:
        raise ValueError(f"a map of shape {maps.shape} has no places")
    height, width, before = grid
    n, channels = maps.shape[:2]
    return np.asarray(maps.reshape(n, channels, -1)[:, :, before:].reshape(n, channels, height, width))


@cache
def _resizing(old: int, new: int) -> NDArray[np.float32]:
    """Bilinear resizing of one axis as a matrix `(new, old)`, rows summing to 1; smoothed when it gets smaller."""
    ratio = old / new
    centres = (np.arange(new) + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(old)[None, :] - np.clip(centres, 0, old - 1)[:, None])
    weights = np.maximum(1 - distance / max(1.0, ratio), 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
