"""Where the network looked, as a small see-through picture to lay over a thumbnail.

From a dark blue veil (no evidence) to a light yellow glow (most): over any picture below, what counts more is lighter,
in colours and in grey, and blue against yellow is told apart with every common colour blindness.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

LEVELS, ENLARGED = 64, 4
VEIL, GLOW = (0, 32, 77, 0.72), (255, 234, 70, 0.42)  # red, green, blue, opacity: the ends of the colour map cividis


def overlay(heat: Mapping[str, Any]) -> str:
    """A data URI of `heat` ({"rows", "columns", "values" 0..255}), smoothly enlarged; empty when it is damaged."""
    from PIL import Image

    rows, columns, values = heat.get("rows"), heat.get("columns"), heat.get("values")
    if not isinstance(rows, int) or not isinstance(columns, int) or not 0 < rows <= 64 or not 0 < columns <= 64:
        return ""
    try:
        found = np.asarray(values, np.float64).reshape(rows, columns)
    except (TypeError, ValueError):
        return ""
    grey = Image.fromarray(np.clip(np.nan_to_num(found), 0, 255).astype(np.uint8))
    grey = grey.resize((columns * ENLARGED, rows * ENLARGED), Image.Resampling.BICUBIC)
    levels = np.asarray(grey).astype(np.uint16) * (LEVELS - 1) // 255
    picture = Image.fromarray(levels.astype(np.uint8), "L").convert("P")
    colours, opacity = _ramp()
    picture.putdata(levels.astype(np.uint8).ravel().tolist())
    picture.putpalette(list(colours))
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=opacity, optimize=True, bits=8)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@cache
def _ramp() -> tuple[bytes, bytes]:
    """The palette and the opacity of every level; colours are mixed as they are laid over each other."""
    share = np.linspace(0.0, 1.0, LEVELS)[:, None]
    veil, glow = np.array(VEIL[:3]) * VEIL[3], np.array(GLOW[:3]) * GLOW[3]
    opacity = VEIL[3] + share * (GLOW[3] - VEIL[3])
    mixed = ((1 - share) * veil + share * glow) / opacity
    return mixed.round().astype(np.uint8).tobytes(), (255 * opacity).round().astype(np.uint8).ravel().tobytes()
