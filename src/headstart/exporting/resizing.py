"""How other programs resize, in numpy, to measure on the user's own pictures what that costs.

All work on the whole picture, upright, RGB, and follow the classifier's rule (whole, crop or pad) otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.images.open import Source, open_image
from headstart.images.preprocess import Preprocessing, to_square

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
_NO_DRAFT = 10**6  # pixels: no JPEG is decoded smaller


def pillow_whole(image: Image.Image, rule: Preprocessing) -> Pixels:
    """The right resize, of a JPEG that was decoded at its full size."""
    return to_square(image, rule)


def bilinear(image: Image.Image, rule: Preprocessing) -> Pixels:
    """Between the four nearest pixels, whatever lies between: OpenCV's INTER_LINEAR, a canvas without smoothing."""
    return _by(image, rule, _bilinear)


def area(image: Image.Image, rule: Preprocessing) -> Pixels:
    """The mean of all pixels that fall on one: OpenCV's INTER_AREA, which is bilinear when it enlarges."""
    return _by(image, rule, _area)


WAYS: dict[str, Callable[[Image.Image, Preprocessing], Pixels]] = {
    "the same resize in Pillow, of a JPEG decoded at full size": pillow_whole,
    "bilinear without antialiasing (OpenCV INTER_LINEAR; a canvas at its default quality)": bilinear,
    "mean over areas (OpenCV INTER_AREA)": area,
}


def squares(source: Source, rule: Preprocessing) -> list[Pixels]:
    """The square (side, side, 3) that each of `WAYS` makes of a picture. BadImageError when it cannot be read."""
    image = open_image(source, _NO_DRAFT).image
    return [way(image, rule) for way in WAYS.values()]


def _by(
    image: Image.Image, rule: Preprocessing, resize: Callable[[NDArray[np.float64], Box, int, int], NDArray[np.float64]]
) -> Pixels:
    pixels, side = np.asarray(image).astype(np.float64), rule.side
    box: Box = (0.0, 0.0, float(image.width), float(image.height))
    width = height = side
    if rule.fit == "crop":
        edge = min(image.size) * rule.crop_share
        left, top = (image.width - edge) / 2, (image.height - edge) / 2
        box = (left, top, left + edge, top + edge)
    elif rule.fit == "pad":
        width, height = (max(1, min(side, round(length * side / max(image.size)))) for length in image.size)
    small = np.clip(np.round(resize(pixels, box, width, height)), 0, 255).astype(np.uint8)
    square = np.full((side, side, 3), 127, np.uint8)
    top_row, left_column = (side - height) // 2, (side - width) // 2
    square[top_row : top_row + height, left_column : left_column + width] = small
    return square


def _bilinear(pixels: NDArray[np.float64], box: Box, width: int, height: int) -> NDArray[np.float64]:
    rows, columns = _linear(pixels.shape[0], box[1], box[3], height), _linear(pixels.shape[1], box[0], box[2], width)
    low, high, share = rows
    between = pixels[low] * (1 - share)[:, None, None] + pixels[high] * share[:, None, None]
    low, high, share = columns
    return np.asarray(between[:, low] * (1 - share)[:, None] + between[:, high] * share[:, None])


def _linear(
    length: int, start: float, end: float, n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Per new pixel its two neighbours among `length` and the share of the second."""
    at = np.clip(start + (np.arange(n) + 0.5) * (end - start) / n - 0.5, 0, length - 1)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, length - 1), at - low


def _area(pixels: NDArray[np.float64], box: Box, width: int, height: int) -> NDArray[np.float64]:
    if box[2] - box[0] < width or box[3] - box[1] < height:
        return _bilinear(pixels, box, width, height)
    for axis, (start, end, n) in enumerate(((box[1], box[3], height), (box[0], box[2], width))):
        pixels = _means(pixels, axis, np.linspace(start, end, n + 1))
    return pixels


def _means(pixels: NDArray[np.float64], axis: int, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the stretches between `edges` along `axis`, by differences of the running sum."""
    sums = np.cumsum(pixels, axis=axis)
    sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis=axis)
    low = np.minimum(np.floor(edges).astype(np.intp), pixels.shape[axis] - 1)
    shape = [1, 1, 1]
    shape[axis] = -1
    share = (edges - low).reshape(shape)
    reached = sums.take(low, axis) * (1 - share) + sums.take(low + 1, axis) * share
    return np.asarray(np.diff(reached, axis=axis) / np.diff(edges).reshape(shape))
