"""Pictures that differ from the rest (blurred, dark, bright, of odd size or shape) and are wrong more often.

Being different is no fault, so only a difference that goes with mistakes is worth a word: one-sided exact test, within
classes (a class of dark pictures is not accused of being a hard class), corrected for how many tests were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from headstart.predictions import blocks

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
BoolArray = NDArray[np.bool_]

BEYOND = 2.5  # robust standard deviations from the median
SIGNIFICANT = 0.05  # after the correction for the number of tests
FEWEST = 5  # odd pictures; fewer cannot be told from chance
MOST = 0.3  # share of the pictures above which they are no exception
WORSE = 0.05  # share of mistakes by which odd pictures must be above the rest to matter
BLANK = 1.0  # grey levels of deviation at 32 x 32


@dataclass(frozen=True)
class Trait:
    """One measured property of n pictures: `values` `(n,)`, NaN where unknown.

    `code` of the finding; `side` -1: low values are odd, 1: high ones, 0: both. An odd value is at least `least` away
    from the median of its class (of the rows in `usual`, all when None), and not inside `within` (low, high).
    """

    code: str
    values: FloatArray
    side: int
    least: float
    within: tuple[float, float] | None = None
    usual: BoolArray | None = None


@dataclass(frozen=True)
class Oddity:
    """Pictures that are odd by one trait and wrong more often than the rest of their classes.

    `rows`: the odd ones, wrong ones first, then by how odd they are. `wrong`: how many of them are. `share`, `rest`:
    share of mistakes among the odd pictures and among the others. `p`: corrected for the number of tests.
    """

    code: str
    rows: IntArray
    wrong: int
    share: float
    rest: float
    p: float


@dataclass(frozen=True)
class Outcome:
    """What became of n pictures: `wrong` and `known` (judged at all) `(n,)`, `labels` `(n,)`.

    `weights` `(n,)`: how many pictures each stands for, where mistakes were looked at more often than the rest.
    """

    wrong: BoolArray
    known: BoolArray
    labels: IntArray
    weights: FloatArray | None = None


def brightness(thumbnails: NDArray[np.uint8]) -> FloatArray:
    """Mean grey level 0..255 `(n,)` of thumbnails `(n, h, w)`."""
    return np.asarray(thumbnails.mean(axis=(1, 2), dtype=np.float64))


def blank(thumbnails: NDArray[np.uint8]) -> BoolArray:
    """Which thumbnails `(n, h, w)` are one even grey: nothing can be seen in such a picture."""
    found = np.zeros(len(thumbnails), bool)
    for rows in blocks(len(thumbnails), int(np.prod(thumbnails.shape[1:]))):  # a hundred thousand would take 0.4 GB
        found[rows] = thumbnails[rows].std(axis=(1, 2), dtype=np.float32) < BLANK
    return found


def light_and_size(light: FloatArray, sizes: IntArray) -> tuple[Trait, ...]:
    """What is known of every embedded picture: `light` `(n,)`, its `brightness`; `sizes` `(n, 2)` width, height."""
    width, height = np.maximum(np.asarray(sizes, np.float64), 1.0).T
    return (
        Trait("dark", light, -1, 20.0, (70.0, np.inf)),
        Trait("bright", light, 1, 20.0, (-np.inf, 185.0)),
        Trait("odd_size", 0.5 * np.log(width * height), 0, log(1.5)),
        Trait("odd_shape", np.log(width / height), 0, log(1.25)),
    )


def oddities(found: Sequence[tuple[Trait, Outcome]]) -> tuple[Oddity, ...]:
    """Every trait that goes with mistakes; `found` holds the traits, each with the outcome of the same pictures."""
    tests = []
    for trait, outcome in found:
        distance = odd_by(trait, outcome.labels)
        odd = np.isfinite(distance) & outcome.known
        seen = np.isfinite(trait.values) & outcome.known
        if FEWEST <= odd.sum() <= MOST * max(int(seen.sum()), 1):
            tests.append((trait, outcome, distance, odd, seen))
    said = []
    for trait, outcome, distance, odd, seen in tests:
        p = min(1.0, len(tests) * goes_with(odd[seen], outcome.wrong[seen], outcome.labels[seen]))
        share, rest = (_share_wrong(outcome, rows) for rows in (odd, seen & ~odd))
        if p < SIGNIFICANT and share - rest >= WORSE:
            rows = np.flatnonzero(odd)
            rows = rows[np.lexsort((-distance[rows], ~outcome.wrong[rows]))]
            said.append(Oddity(trait.code, rows, int(outcome.wrong[odd].sum()), share, rest, p))
    return tuple(said)


def odd_by(trait: Trait, labels: IntArray) -> FloatArray:
    """How far every odd picture is from the median of its class, `(n,)`; NaN for those that are not odd."""
    values = np.asarray(trait.values, np.float64)
    usual = np.isfinite(values) if trait.usual is None else np.isfinite(values) & trait.usual
    far: FloatArray = np.full(len(values), np.nan)
    if not usual.any():
        return far
    middle = np.full(len(values), np.median(values[usual]))
    for k in np.unique(labels[usual]):
        of_class = labels == k
        if (of_class & usual).sum() >= FEWEST:
            middle[of_class] = np.median(values[of_class & usual])
    away = np.nan_to_num(values - middle, nan=0.0)
    deviation = 1.4826 * float(np.median(np.abs(away[usual])))
    away = np.abs(away) if trait.side == 0 else trait.side * away
    odd = away > max(BEYOND * deviation, trait.least)
    if trait.within is not None:
        odd &= (values < trait.within[0]) | (values > trait.within[1])
    far[odd] = away[odd]
    return far


def goes_with(odd: BoolArray, wrong: BoolArray, labels: IntArray) -> float:
    """One-sided exact p-value that odd pictures `(n,)` are wrong no more often than others of their class."""
    chances, seen = np.ones(1), 0
    for k in np.unique(labels):
        of_class = labels == k
        chances = np.convolve(chances, _hypergeometric(odd[of_class], wrong[of_class]))
        seen += int(np.sum(odd[of_class] & wrong[of_class]))
    return float(min(1.0, chances[seen:].sum()))


def _hypergeometric(odd: BoolArray, wrong: BoolArray) -> FloatArray:
    """Chance of 0, 1, 2 ... wrong ones among the odd ones when which are wrong has nothing to do with it."""
    n, m, w = len(odd), int(odd.sum()), int(wrong.sum())
    logs = [
        _choose(w, x) + _choose(n - w, m - x) - _choose(n, m) if 0 <= m - x <= n - w else -np.inf
        for x in range(min(m, w) + 1)
    ]
    return np.asarray(np.exp(np.array(logs)))


def _choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _share_wrong(outcome: Outcome, rows: BoolArray) -> float:
    weights = np.ones(len(rows)) if outcome.weights is None else outcome.weights
    total = float(weights[rows].sum())
    return float(weights[rows & outcome.wrong].sum()) / total if total > 0 else 0.0
