"""The gate of every export: the same answers as the classifier, on the user's own pictures, or no file.

Design section 8: the same class for every picture, unless its top two probabilities lie within 2e-3, and probabilities
within 1e-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.verify import BATCH_SIZES, PROBABILITY_TOLERANCE, TIE
from headstart.engine.engine import Engine
from headstart.errors import HeadstartError

Rows = NDArray[np.floating]


@dataclass(frozen=True)
class Agreement:
    """Two sets of answers to the same n pictures: how many have the same class, and the largest difference."""

    n: int
    same: int
    largest: float

    @property
    def share(self) -> float:
        """Share of the pictures with the same class, 0..1."""
        return self.same / self.n


def agreement(expected: Rows, found: Rows) -> Agreement:
    """How far the probabilities `found` (n, K) agree with those `expected`."""
    same = int((expected.argmax(axis=1) == found.argmax(axis=1)).sum())
    return Agreement(len(expected), same, float(_differences(expected, found).max()))


def differing(expected: Rows, found: Rows) -> NDArray[np.bool_]:
    """Which rows break design section 8. NaN does."""
    if expected.shape != found.shape:
        raise HeadstartError(f"the exported model gives {found.shape} probabilities, not {expected.shape}")
    top_two = np.partition(expected, -2, axis=1)[:, -2:]
    other_class = (expected.argmax(axis=1) != found.argmax(axis=1)) & (top_two[:, 1] - top_two[:, 0] > TIE)
    return np.asarray(other_class | ~(_differences(expected, found) <= PROBABILITY_TOLERANCE))


def demand(expected: Rows, found: Rows, names: Sequence[str], how: str) -> float:
    """The largest difference; HeadstartError naming the first picture when a row breaks section 8.

    `names` are safe to print; `how` says which way `found` was computed.
    """
    wrong = differing(expected, found)
    if wrong.any():
        first = int(wrong.argmax())
        gap = _differences(expected, found)[first]
        raise HeadstartError(
            f"the exported model, {how}, does not give the classifier's answer on {names[first]}: they differ "
            f"by {gap:.4f} ({int(wrong.sum())} of {len(wrong)} pictures differ); nothing was exported: please report it"
        )
    return float(_differences(expected, found).max())


def in_batches(engine: Engine, pixels: NDArray[np.uint8], size: int) -> Rows:
    """Probabilities (n, K) of squares (n, side, side, 3), `size` at a time."""
    parts = [engine.run(pixels[at : at + size])["probabilities"] for at in range(0, len(pixels), size)]
    return np.concatenate(parts)


def demand_in_batches(engine: Engine, pixels: NDArray[np.uint8], expected: Rows, names: Sequence[str]) -> float:
    """`demand` for batches of 1, 2 and 7; the largest difference of all."""
    return max(
        demand(expected, in_batches(engine, pixels, size), names, f"run by {engine.name} in batches of {size}")
        for size in BATCH_SIZES
    )


def _differences(expected: Rows, found: Rows) -> NDArray[np.floating]:
    return np.asarray(np.abs(np.asarray(expected, np.float64) - found).max(axis=1))
