"""How blurred a picture is, whatever its contrast: what another blur would still take away (Crete 2007). Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TAPS = 9  # pixels of the blur that a picture is compared with
FLAT = 0.1  # mean step between neighbours, in grey levels; below it there is nothing that could be sharp


def blur(pixels: NDArray[np.uint8]) -> float:
    """Blur of `pixels` uint8 `(h, w, 3)`: about 0.2 sharp, towards 1 blurred; NaN where there is nothing to see."""
    grey = np.asarray(pixels, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    if min(grey.shape) < TAPS + 2:
        return float("nan")
    found = [share for share in (_along(grey), _along(np.ascontiguousarray(grey.T))) if share is not None]
    return max(found, default=float("nan"))


def _along(grey: NDArray[np.float32]) -> float | None:
    """Share of the steps between the rows of `grey` that a blur down the columns leaves; None without any."""
    sums = np.cumsum(grey, axis=0, dtype=np.float64)
    smooth = (sums[TAPS:] - sums[:-TAPS]) / TAPS
    middle = grey[TAPS // 2 + 1 : TAPS // 2 + 1 + len(smooth)]
    steps = np.abs(np.diff(middle, axis=0))
    left = np.abs(np.diff(smooth, axis=0))
    total = float(steps.sum())
    if total < FLAT * steps.size:
        return None
    return 1.0 - float(np.maximum(steps - left, 0.0).sum()) / total
