"""What is known before looking: how much this amount of training gained on other pictures.

A few dozen held-out pictures seldom prove anything; where every other set of its kind gained, that is evidence too.
Normal prior times normal likelihood (Gelman et al., Bayesian Data Analysis, 2.5), in shares of the new head's errors.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from headstart.howmuch.better import Better, chance

P_INFORMED = 0.8
LEAST_JUDGED = 30  # held-out pictures without which an experience says nothing about these pictures


def informed(compared: Better, expected: tuple[float, float] | None, errors: float) -> Better:
    """`compared` with what is `expected` counted into `p`; `p_here` keeps what these pictures say alone.

    Then a `p` of 0.8 is asked for instead of 0.9: that is worth 1.0 points over always keeping the head instead of 0.6
    where one fold was judged, when the experience is that of other sets only (`benchmarks/experience.py`).

    `expected`: mean and standard deviation of the gain as shares of `errors`, the new head's error rate (0..1); None
    where nothing is known, which changes nothing.
    """
    if expected is None or errors <= 0:
        return compared
    mean, deviation = expected[0] * errors, expected[1] * errors
    if compared.error <= 0:
        return compared
    before, here = 1 / deviation**2, 1 / compared.error**2
    gain = (mean * before + compared.gain * here) / (before + here)
    return replace(compared, p=chance(gain, 1 / sqrt(before + here)), needed=P_INFORMED)
