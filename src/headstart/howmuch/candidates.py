"""Which heads are cross-validated: the sets of depths, the penalties, what one of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.head.ridge import DepthSet

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

# mean form; a half-decade grid. Sets wider than WIDE never preferred less than 0.03 in the screen on seven data sets
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
WIDE = 1024
WIDE_PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03)
MANY_ROWS = 1000  # from here a wide set costs seconds and its best penalty lay in 0.1 .. 0.3
LOGISTIC_PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
# a step is a decade where many classes make it dear; their best lay at 0.001 or below (0.0003 costs half as much again)
MANY_CLASSES = 20
VERY_MANY_CLASSES = 100  # and from here in the closed forms too
MANY_CLASSES_PENALTIES = (0.01, 0.001)

# So few pictures cannot tell heads apart: the mean of all is taken, and of one fixed head more, ridge on all depths but
# the last. Against the best one, mean test top-1 over six sets, points (benchmarks/few_pictures.py): +1.5 with 5
# pictures per class, +0.7 with 10, +0.5 with 20, 0 with 600 in all
FEW = 500  # pictures in all
FIXED_PENALTY = 3.0


@dataclass(frozen=True)
class Candidate:
    """One cross-validated head: depths (positions and names), factor per depth, kind, penalty, and what it reached.

    `kind` is "ridge", "lda", "logistic" or "mean" (of its `members`, with no penalty of its own: not a number); its
    logits are divided by `temperature`, fitted out of fold, so that kinds are comparable. `top1` with its 95 %
    interval, `nll` in nats.
    """

    depths: tuple[int, ...]
    names: tuple[str, ...]
    dims: tuple[int, ...]
    factors: tuple[float, ...]
    kind: str
    penalty: float
    temperature: float
    top1: float
    nll: float
    low: float
    high: float
    seconds: float
    members: tuple[Candidate, ...] = ()

    @property
    def dim(self) -> int:
        """Features the head reads."""
        return sum(self.dims)

    @property
    def known_penalty(self) -> float | None:
        """The penalty, None where there is no single one."""
        return None if self.members else self.penalty

    @property
    def depth_set(self) -> DepthSet:
        """What the heads take."""
        return DepthSet(self.depths, self.factors)


def depth_sets(dims: Sequence[int], n: int) -> list[DepthSet]:
    """Every depth alone, neighbours together, all but the last, all, and all with the depths evened out (last).

    Singles come first, in order. Evening multiplies a depth of dimension d by d**-0.5, which gives every depth the
    same total variance: the last 1,280 features otherwise outweigh all others together. From 1,000 rows on all depths
    are tried evened only: on five larger sets that was within 0.3 points of plain or up to 1 better.
    """
    count = len(dims)
    plain: list[tuple[int, ...]] = [(i,) for i in range(count)]
    plain += [(i, i + 1) for i in range(count - 1) if i + 1 < count - 1 or count == 2]
    if count > 3:
        plain.append(tuple(range(count - 1)))
    if count > 2 and n < MANY_ROWS:
        plain.append(tuple(range(count)))
    sets = [DepthSet(depths, (1.0,) * len(depths)) for depths in plain]
    if count > 2:
        sets.append(evened(tuple(range(count)), dims, 0.5))
    return sets


def fixed_set(depths: int) -> DepthSet:
    """All depths but the last (or the only one): where there is too little to choose by."""
    used = tuple(range(max(1, depths - 1)))
    return DepthSet(used, (1.0,) * len(used))


def evened(depths: tuple[int, ...], dims: Sequence[int], power: float) -> DepthSet:
    """Factors d**-power, scaled so that the total variance of the set stays its number of features."""
    widths = np.array([dims[i] for i in depths], np.float64)
    factors = widths**-power
    factors *= np.sqrt(widths.sum() / (factors**2 * widths).sum())
    return DepthSet(depths, tuple(float(f) for f in factors))


def penalties_of(depth_set: DepthSet, dims: Sequence[int], n: int, n_classes: int) -> tuple[float, ...]:
    """The closed-form penalties worth trying on a set, given n rows."""
    if sum(dims[i] for i in depth_set.depths) <= WIDE:
        return PENALTIES if n_classes <= VERY_MANY_CLASSES else PENALTIES[::2]
    return WIDE_PENALTIES if n < MANY_ROWS else WIDE_PENALTIES[1:4]
