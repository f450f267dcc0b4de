"""Every kind of pixel to 8-bit RGB or grey: scaled, never clipped; transparency on white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.images.read import BadImageError

# Depths that cameras and scanners put into 16-bit files. Pillow's own convert() clips such pictures to white.
_DEPTHS = (8, 12, 14, 16)


def to_plain(image: Image.Image) -> tuple[Image.Image, str | None]:
    """`image` in mode RGB, or L where all is grey, and a note when something had to be decided.

    Raises BadImageError for modes without a sure way to RGB.
    """
    mode = image.mode
    if mode in ("RGB", "L") and "transparency" not in image.info:
        return image, None
    if mode.startswith("I"):
        grey, note = eight_bit(np.asarray(image))
        return Image.fromarray(grey), note
    if mode == "F":
        raise BadImageError("floating-point pixels are not supported: save it with 8 or 16 bits")
    if "A" in mode or "a" in mode or "transparency" in image.info:
        return on_white(image), None
    try:
        return image.convert("L" if mode == "1" else "RGB"), None
    except ValueError:
        raise BadImageError(f"colour mode {mode} is not supported: convert it to RGB") from None


def on_white(image: Image.Image) -> Image.Image:
    """`image` with transparency laid on white."""
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white


def eight_bit(values: NDArray[Any]) -> tuple[NDArray[np.uint8], str | None]:
    """Integers of up to 16 bits as uint8, scaled by the smallest usual depth that holds the largest value."""
    low, top = int(values.min()), int(values.max())
    if low < 0 or top > 65535:
        raise BadImageError(f"32-bit grey values ({low} to {top}) are not supported: save it with 8 or 16 bits")
    depth = next(bits for bits in _DEPTHS if top < 2**bits)
    # A table: one look-up per pixel instead of float arithmetic on millions of them.
    table = np.round(np.arange(2**depth) * (255.0 / (2**depth - 1))).astype(np.uint8)
    note = None if depth == 16 else f"16-bit file with values up to {top}: read as {depth}-bit"
    return table[values], note


def array_to_plain(values: NDArray[Any]) -> tuple[Image.Image, str | None]:
    """An array `(h, w)`, `(h, w, 1)`, `(h, w, 3)` or `(h, w, 4)`, uint8, uint16 or float in 0..1, as RGB or L."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))) or 0 in values.shape:
        raise BadImageError(f"an array of shape {values.shape} is no picture: give (h, w), (h, w, 3) or (h, w, 4)")
    note = None
    if values.dtype.kind == "f":
        low, top = float(values.min()), float(values.max())
        if not (low >= 0 and top <= 1):  # also refuses NaN
            raise BadImageError(f"float pixels must lie in 0..1, these lie in {low:g}..{top:g}: divide by 255?")
        values = np.round(values * 255).astype(np.uint8)
    elif values.dtype == np.uint16:
        values, note = eight_bit(values)
    elif values.dtype != np.uint8:
        raise BadImageError(f"pixels of type {values.dtype} are not supported: give uint8, or float in 0..1")
    image, _ = to_plain(Image.fromarray(np.ascontiguousarray(values)))
    return image, note
