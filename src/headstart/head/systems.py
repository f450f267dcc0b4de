"""Symmetric systems (S + penalty I) W = R, for several penalties at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

TOGETHER_CELLS = 500_000  # of systems that are solved in one call: 4 MB


def solve(symmetric: FloatArray, right: FloatArray, penalty: float) -> FloatArray:
    """(symmetric + penalty I)^-1 right."""
    return next(solutions(symmetric, right, [penalty]))


def solutions(symmetric: FloatArray, right: FloatArray, penalties: Sequence[float]) -> Iterator[FloatArray]:
    """(symmetric + penalty I)^-1 right for each penalty; small systems in one call, which other threads run beside."""
    # scipy's Cholesky halves a solve of 2,000 unknowns, but its own thread pool fights numpy's: 21 s instead of 0.9 s
    # for a whole screen of 187 pictures on a busy machine; and importing it takes half a second. One pool, one library.
    n = len(symmetric)
    together = max(1, TOGETHER_CELLS // n**2)
    for start in range(0, len(penalties), together):
        some = np.asarray(penalties[start : start + together], np.float64)
        ridged = np.empty((len(some), n, n))
        ridged[:] = symmetric
        ridged.reshape(len(some), -1)[:, :: n + 1] += some[:, None]
        yield from np.linalg.solve(ridged, np.broadcast_to(right, (len(some), *right.shape)))
