"""The accuracy of an arm that judged a part of the pictures, where the head it is compared with judged all of them.

A fold may be easier or harder than the rest, and the head tells by how much: what it gets right there and everywhere
else moves the arm's figure by the slope of the one on the other (the regression estimator of survey sampling: Cochran,
Sampling Techniques, 1977, chapter 7). Exact on the mean, and narrower, as the two are right about the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import Z95, wilson

FloatArray = NDArray[np.floating]

LEAST_SPREAD = 1e-4  # of right and wrong: an accuracy of 0.9999


@dataclass(frozen=True)
class AtLarge:
    """The accuracy of the rival on all pictures that it judged, with the ends of its interval (95 %)."""

    top1: float
    low: float
    high: float


def slope(correct: FloatArray, rival: FloatArray) -> float:
    """How much more often an arm is right where the rival is, than where it is not; 0..1.

    `correct`, `rival` `(m,)`: shares of right answers, 0..1. One right and one wrong answer are added on either side
    (Laplace), so that a fold without a single error of the rival's says that little is known, not that nothing hangs
    together.
    """
    right, wrong = float(rival.sum()), float((1 - rival).sum())
    where_right = (float(correct @ rival) + 1) / (right + 2)
    where_wrong = (float(correct @ (1 - rival)) + 1) / (wrong + 2)
    return max(where_right - where_wrong, 0.0)


def moved(arm: FloatArray, rival: FloatArray, weight: float, whole: AtLarge) -> tuple[float, float, float]:
    """Mean and interval (95 %) of an arm's accuracy on all pictures, from draws of both on some of them.

    `arm`, `rival` `(draws,)`: accuracies in the same draws; `weight`: the `slope`. Two independent errors add up: of
    the arm beside the rival, and of the rival itself. The interval is Wilson's for as many pictures as err so much.
    """
    drawn = arm - weight * (rival - whole.top1)
    top1 = min(max(float(drawn.mean()), 0.0), 1.0)
    known = weight * (whole.high - whole.low) / (2 * Z95)
    variance = float(drawn.var()) + known**2
    pictures = max(top1 * (1 - top1), LEAST_SPREAD) / max(variance, LEAST_SPREAD**2)
    low, high = wilson(top1 * pictures, pictures)
    return top1, low, high
