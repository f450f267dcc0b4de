"""One temperature, fitted on out-of-fold logits (Guo 2017), never on training logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.metrics import nll
from headstart.predictions import MOST_CELLS

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

# Bounds of how far the highest logit of a row stands above the row's mean (nats, mean over rows) after cooling. Flatter
# ones tell no more, and 32 bits no longer tell them apart: where many heads that only guess were cooled, averaged and
# cooled again, every picture got the first class (elpv, ten pictures).
FLATTEST, STEEPEST = 0.01, 1000.0
SOFTEST = 10.0
CLOSE = 0.2  # logarithm, within which the slope is nearly a straight line
NOTHING = 1e-13  # slope, in shares of the spread: a multiple of the logits is not another problem
MOST_STEPS = 40


def fit_temperature(logits: FloatArray, labels: IntArray) -> float:
    """The temperature that minimises the log-loss of `logits / temperature`, between `FLATTEST` and `STEEPEST`.

    A multiple of the logits has that multiple of the temperature, so cooling twice is cooling once; logits that are the
    same for all classes have 1.
    The truth is smoothed by 1 / (n + 2) spread over all classes (Platt 1999's targets), so that a head that is right
    on every row is not declared infallible: its confidence stays near the rule of succession.
    The log-loss is convex in 1 / temperature; where its slope is zero is found in the log domain. Needs n >= 1 finite
    rows. Of more than four million logits evenly spaced rows are enough for one number.
    """
    if logits.ndim != 2 or labels.shape != (len(logits),) or len(labels) == 0:
        raise ValueError(f"expected (n, K) logits and (n,) labels with n > 0, not {logits.shape} and {labels.shape}")
    step = spacing(*logits.shape)
    scores, labels = np.asarray(logits[::step], np.float64), labels[::step]
    if not np.all(np.isfinite(scores)):
        raise ValueError("a temperature needs finite logits; leave out the rows that were never judged")
    n = len(labels)
    smoothing = 1.0 / (n + 2)
    true = scores[np.arange(n), labels]
    wanted = float(np.mean((1 - smoothing) * true + smoothing * scores.mean(axis=1)))
    centred = scores - scores.max(axis=1, keepdims=True)
    top = float(scores.max(axis=1).mean())
    spread = top - float(scores.mean())
    if spread <= 0:
        return 1.0

    def above(log_inverse: float) -> float:
        weights = np.exp(np.exp(log_inverse) * centred)
        mean = float(np.mean(np.einsum("nk,nk->n", weights, centred) / weights.sum(axis=1)))
        return (mean + top - wanted) / spread

    return float(np.exp(-_crossing(above, float(np.log(FLATTEST / spread)), float(np.log(STEEPEST / spread)))))


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is zero, else the end that is nearest to it: halving, then false position (Illinois).

    Bisection alone needs four times as many of its values, each of which is an exponential of every logit.
    """
    below, above = rising(low), rising(high)
    if below >= 0 or above <= 0:
        return low if below >= 0 else high
    while high - low > CLOSE:
        middle = 0.5 * (low + high)
        value = rising(middle)
        if value < 0:
            low, below = middle, value
        else:
            high, above = middle, value
    side = 0
    for _ in range(MOST_STEPS):
        at = high - above * (high - low) / (above - below)
        value = rising(at)
        if abs(value) <= NOTHING or not low < at < high:
            return at
        if value < 0:
            low, below, above = at, value, above / 2 if side < 0 else above
            side = -1
        else:
            high, above, below = at, value, below / 2 if side > 0 else below
            side = 1
    return 0.5 * (low + high)


def spacing(n: int, width: int) -> int:
    """Every how many of `n` rows of `width` logits a temperature is fitted on."""
    return max(1, n * width // MOST_CELLS)


def softening(logits: FloatArray, labels: IntArray, loss: float) -> float:
    """The temperature in [1, 10] at which the log-loss of `logits / temperature` is `loss`.

    1 where it is as high already. For logits of rows that were learned from: the hotter, the less sure of them.
    """
    low, high = 0.0, float(np.log(SOFTEST))
    if nll(logits, labels) >= loss:
        return 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        if nll(logits, labels, float(np.exp(middle))) < loss:
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))
