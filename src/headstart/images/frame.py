"""The outer frame of a square picture without its middle: what a background alone would tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WIDTH = 1 / 8  # of the side, on each edge


def frame_area(width: float = WIDTH) -> float:
    """Share of the picture's area that the frame keeps."""
    return 1.0 - (1.0 - 2.0 * width) ** 2


def frame_alone(pixels: NDArray[np.uint8], width: float = WIDTH) -> NDArray[np.uint8]:
    """A copy of `pixels` uint8 `(side, side, 3)` whose middle has the mean colour of its frame.

    Not the mean of the whole picture: that would let the colour of what was removed shine through.
    """
    framed, middle = pixels.copy(), _middle(len(pixels), width)
    outside = np.ones(pixels.shape[:2], bool)
    outside[middle, middle] = False
    framed[middle, middle] = np.round(pixels[outside].mean(axis=0)).astype(np.uint8)
    return framed


def frame_around(pixels: NDArray[np.uint8], other: NDArray[np.uint8], width: float = WIDTH) -> NDArray[np.uint8]:
    """The frame of `pixels` around the middle of `other`, both uint8 `(side, side, 3)`."""
    framed, middle = pixels.copy(), _middle(len(pixels), width)
    framed[middle, middle] = other[middle, middle]
    return framed


def _middle(side: int, width: float) -> slice:
    edge = max(1, round(side * width))
    return slice(edge, side - edge)
