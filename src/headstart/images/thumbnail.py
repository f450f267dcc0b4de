"""Small pictures to show: what a person sees of one, from the same decoding as the square that a network sees."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from headstart.images.load import Picture, load_square
from headstart.images.open import LIMITS, Limits, Source, open_image
from headstart.images.preprocess import Preprocessing

QUALITY = 80  # of JPEG
_SMALLER = ((1.0, 60), (1.0, 40), (0.5, 60), (0.25, 60))  # scale and quality that are tried when it is too large

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Size:
    """What a thumbnail may be: `longest` side in pixels (nothing is enlarged), `most_bytes` of the file."""

    longest: int = 128
    most_bytes: int = 8000


@dataclass(frozen=True)
class Thumbnail:
    """`jpeg`: the bytes of a file, upright, transparency on white, no metadata. `width`, `height`: its pixels."""

    jpeg: bytes
    width: int
    height: int


def make_thumbnail(source: Source, size: Size = Size(), limits: Limits = LIMITS) -> Thumbnail:
    """Open `source` and make its thumbnail; a large JPEG is decoded at a fraction of its size.

    Raises BadImageError, and MachineError when the disk is gone.
    """
    return _thumbnail(open_image(source, size.longest // 2, limits).plain, size)  # decoding keeps twice what is asked


def load_with_thumbnail(
    source: Source, preprocessing: Preprocessing, size: Size = Size(), limits: Limits = LIMITS
) -> tuple[Picture, Thumbnail]:
    """`load_square`'s picture of `source`, and its thumbnail; the file is read and decoded once.

    Raises BadImageError, and MachineError when the disk is gone.
    """
    plain = open_image(source, max(preprocessing.at_least, size.longest // 2), limits).plain
    return load_square(np.asarray(plain), preprocessing, limits), _thumbnail(plain, size)


def seen_part(shape: tuple[int, int], preprocessing: Preprocessing) -> Box:
    """Which part of an upright picture of `shape` (width, height) the network's square shows: fractions.

    (left, top, right, bottom); a padded square reaches beyond the picture: then below 0 and above 1.
    """
    width, height = shape
    side = preprocessing.side
    if preprocessing.fit == "whole":
        return 0.0, 0.0, 1.0, 1.0
    if preprocessing.fit == "crop":
        edge = min(width, height) * preprocessing.crop_share
        wide, high = edge / width, edge / height
        return (1 - wide) / 2, (1 - high) / 2, (1 + wide) / 2, (1 + high) / 2
    scale = side / max(width, height)
    across, down = (max(1, min(side, round(length * scale))) for length in (width, height))
    left, top = (side - across) // 2, (side - down) // 2
    return -left / across, -top / down, (side - left) / across, (side - top) / down


def _thumbnail(image: Image.Image, size: Size) -> Thumbnail:
    fitting = min(1.0, size.longest / max(image.size))
    made = _encoded(image, fitting, QUALITY)
    for smaller, quality in _SMALLER:
        if len(made.jpeg) <= size.most_bytes:
            break
        made = _encoded(image, fitting * smaller, quality)
    return made


def _encoded(image: Image.Image, scale: float, quality: int) -> Thumbnail:
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small.info = {}  # a comment in it would be written along
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    return Thumbnail(file.getvalue(), width, height)
