"""The one way from a file, bytes or an array to what a backbone sees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.images.open import LIMITS, BadImageError, Limits, Source, open_image, read_bytes
from headstart.images.preprocess import Preprocessing, to_square

__all__ = ["LIMITS", "BadImageError", "Limits", "Picture", "Source", "load_image", "load_square", "read_bytes"]

THUMBNAIL_SIDE = 32


@dataclass(frozen=True)
class Picture:
    """One decoded picture.

    `pixels`: uint8 `(side, side, 3)`. `width`, `height`: of the upright original. `note`: what had to be decided while
    opening, or None. `pixel_hash`: 32 bytes, equal for pictures with the same pixels whatever the file format.
    `thumbnail`: uint8 `(32, 32)`, grey, of the whole picture. `load_square` leaves both empty.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    note: str | None
    pixel_hash: bytes
    thumbnail: NDArray[np.uint8]


def load_image(source: Source, preprocessing: Preprocessing, limits: Limits = LIMITS) -> Picture:
    """Open `source` (path, the bytes of a file, or an array) and make it the square of `preprocessing`.

    Arrays: uint8 or uint16 `(h, w)`, `(h, w, 3)`, `(h, w, 4)`, or float in 0..1. Safe to call from many threads.
    Raises BadImageError with a short `reason`; MachineError when the disk is gone.
    """
    opened = open_image(source, preprocessing.at_least, limits)
    # Hashed as RGB, so that a grey picture and its copy saved with three channels are the same picture.
    digest = hashlib.sha256(b"%d %d " % opened.plain.size)
    digest.update(opened.image.tobytes())
    pixels = to_square(opened.plain, preprocessing)
    # A box filter gave copies of half the size other thumbnails (correlation 0.95; this one: 0.9995).
    small = opened.plain.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    thumbnail = np.asarray(small.convert("L"))
    return Picture(pixels, opened.width, opened.height, opened.note, digest.digest(), thumbnail)


def load_square(source: Source, preprocessing: Preprocessing, limits: Limits = LIMITS) -> Picture:
    """`load_image` without `pixel_hash` and `thumbnail`, which a fifth to a third of its time goes to: for predicting.

    Raises as `load_image` does.
    """
    opened = open_image(source, preprocessing.at_least, limits)
    pixels = to_square(opened.plain, preprocessing)
    return Picture(pixels, opened.width, opened.height, opened.note, b"", np.empty((0, 0), np.uint8))
