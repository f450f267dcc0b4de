"""Views: a picture's square flipped and cropped in ways that keep its label. View 0 is the picture itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Flip = Literal["none", "horizontal", "vertical", "both"]
Strength = Literal["none", "mild"]
Box = tuple[float, float, float, float]  # left, top, right, bottom

SMALLEST_SHARE = {"none": 1.0, "mild": 0.6}  # of the area; 0.08, usual for ImageNet, cuts small defects away
_WIDEST = 4 / 3


@dataclass(frozen=True)
class View:
    """What is done to a square: a flip, and a crop of `share`..1 of the area (1: no crop) scaled back to the square.

    The crop is drawn per picture from `seed` and the picture's identity, whatever the order and the other views.
    """

    flip: Flip = "none"
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.flip not in get_args(Flip):
            raise ValueError(f"flip must be one of {', '.join(get_args(Flip))}, not {self.flip!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {self.share!r}")


UNTOUCHED = View()


def draw_views(count: int, flips: Sequence[Flip] = (), seed: int = 0, strength: Strength = "mild") -> tuple[View, ...]:
    """At most `count` views, the first untouched; the others take turns in `flips` (those that keep labels) and none.

    `strength` "none" flips only, so there may be fewer views; "mild" also crops. More views never change the earlier.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    turns: tuple[Flip, ...] = ("none", *dict.fromkeys(flip for flip in flips if flip != "none"))
    if strength == "none":
        return tuple(View(flip) for flip in turns[:count])
    share = SMALLEST_SHARE[strength]
    # the seed of a view is the pair (seed, number), written as one whole number
    others = (View(turns[i % len(turns)], share, (seed << 16) + i) for i in range(1, count))
    return (UNTOUCHED, *others)


def apply_view(pixels: NDArray[np.uint8], view: View, identity: bytes) -> NDArray[np.uint8]:
    """`pixels` uint8 `(s, s, 3)` seen through `view`, of the same shape; `identity`: the picture's pixel hash."""
    if view.share < 1:
        side = len(pixels)
        # Bilinear: an enlargement by at most 1.3 looks the same as bicubic at 0.7 of the time.
        image = Image.fromarray(pixels).resize(
            (side, side), Image.Resampling.BILINEAR, box=crop_box(view, side, identity)
        )
        pixels = np.asarray(image)
    return flipped(pixels, view.flip)


def flipped(pixels: NDArray[np.uint8], flip: Flip) -> NDArray[np.uint8]:
    """`pixels` `(..., s, s, 3)` mirrored; "both" is half a turn. Not a copy."""
    if flip in ("horizontal", "both"):
        pixels = pixels[..., ::-1, :]
    return pixels[..., ::-1, :, :] if flip in ("vertical", "both") else pixels


def crop_box(view: View, side: int, identity: bytes) -> Box:
    """Where `view` crops the picture `identity`: edges in pixels of a square of `side`.

    Area `view.share`..1 of the square, width to height 3/4..4/3 (log-uniform), position uniform.
    """
    digest = hashlib.blake2b(b"%d " % view.seed + identity, digest_size=32).digest()
    area, aspect, x, y = (int.from_bytes(digest[i : i + 8], "little") / 2**64 for i in range(0, 32, 8))
    share = view.share + (1 - view.share) * area
    ratio = math.exp(math.log(_WIDEST) * (2 * aspect - 1))
    # A side that would stick out is cut off; at most a quarter of the area is lost by that, and never below 3/4.
    width, height = min(1.0, math.sqrt(share * ratio)), min(1.0, math.sqrt(share / ratio))
    left, top = x * (1 - width), y * (1 - height)
    return left * side, top * side, (left + width) * side, (top + height) * side
