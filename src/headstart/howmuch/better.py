"""Is more training better? A paired comparison that pays for having chosen among many arms, epochs and blends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import bootstrap_counts, paired_standard_error
from headstart.howmuch.at_large import AtLarge, moved, slope

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

DRAWS = 1000
LEVEL = 1.0  # as in `score.ranked`
P_TOP1 = 0.9  # probability of being more accurate that is asked for (`verdict.clear`)


@dataclass(frozen=True)
class Scores:
    """Rightness and log-loss `(V, n)` of one arm's versions; a frozen head has one version."""

    correct: FloatArray
    losses: FloatArray


@dataclass(frozen=True)
class Better:
    """A choice among arms against one rival, on the same rows; gains > 0 favour the choice.

    `gain` (accuracy, 0..1) and `gain_nll` (nats) are corrected for having chosen; `error`, `error_nll`: the paired
    standard error of the arm that was chosen, and how much hangs on which arm other rows would have chosen. `apparent`:
    its gain uncorrected. `p`, `p_nll`: probability that the corrected gain is above zero. `top1`, `low`, `high`:
    accuracy of the choice, corrected, 95 %. `p_here`: what these rows say, where `p` also counts what was gained
    elsewhere (`experience`); `needed`: the `p` that is asked for.
    """

    gain: float
    error: float
    apparent: float
    gain_nll: float
    error_nll: float
    p: float
    p_nll: float
    top1: float
    low: float
    high: float
    p_here: float = 0.5
    needed: float = P_TOP1


def better(
    arms: Sequence[Scores],
    rival: Scores,
    chosen: tuple[int, int],
    groups: IntArray | None = None,
    seed: int = 0,
    whole: AtLarge | None = None,
) -> Better:
    """Compare the choice `chosen` = (arm, version) among `arms` with the first version of `rival`.

    `whole`: the rival's accuracy on more pictures than these rows; then `top1`, `low` and `high` are for those.

    The choice is repeated in every bootstrap draw of rows (or groups): the version of lowest log-loss per arm, then the
    sharpest of the arms level in accuracy, on the rows drawn; it is scored on the rows left out. The mean over draws is
    the corrected gain (BBC-CV of Tsamardinos 2018, applied to differences), its noise that of all rows together
    and of the choice.
    """
    n = arms[0].correct.shape[1]
    correct, losses = np.concatenate([a.correct for a in arms]), np.concatenate([a.losses for a in arms])
    owner = np.repeat(np.arange(len(arms)), [len(a.correct) for a in arms])
    gain, gain_nll = correct - rival.correct[0], rival.losses[0] - losses
    at = int(np.flatnonzero(owner == chosen[0])[0]) + chosen[1]
    error = paired_standard_error(correct[at], rival.correct[0], groups)
    error_nll = paired_standard_error(losses[at], rival.losses[0], groups)
    distances = _distances(correct, groups)
    every, every_nll = gain.mean(axis=1), gain_nll.mean(axis=1)
    found: list[FloatArray] = []
    for counts in bootstrap_counts(n if groups is None else groups, seed, DRAWS):
        best = _choice(counts, correct, losses, owner, distances)
        left_out = (counts == 0).astype(np.float32)
        size = left_out.sum(axis=1)
        keep = size > 0
        parts = [(left_out * values[best]).sum(axis=1)[keep] / size[keep] for values in (gain, gain_nll, correct)]
        found.append(np.stack([*parts, every[best][keep], every_nll[best][keep]]))
    drawn = np.concatenate(found, axis=1) if found else np.empty((5, 0))
    apparent = float(gain[at].mean())
    if drawn.shape[1] == 0:  # one group: nothing can be left out, nothing is known
        return Better(apparent, error, apparent, 0.0, error_nll, 0.5, 0.5, float(correct[at].mean()), 0.0, 1.0)
    means = drawn.mean(axis=1)
    # one more row (or group) on which they differ, either way: two of fifty are no evidence, whatever their spread says
    error = float(np.sqrt(error**2 + drawn[3].var() + 1 / (n if groups is None else len(np.unique(groups))) ** 2))
    error_nll = float(np.hypot(error_nll, drawn[4].std()))
    low, high = np.quantile(drawn[2], [0.025, 0.975])
    figures = (float(means[2]), float(low), float(high))
    if whole is not None:
        figures = moved(drawn[2], drawn[2] - drawn[0], slope(correct[at], rival.correct[0]), whole)
    p, p_nll = chance(means[0], error), chance(means[1], error_nll)
    return Better(
        float(means[0]),
        error,
        apparent,
        float(means[1]),
        error_nll,
        p,
        p_nll,
        *figures,
        p,
    )


def _choice(
    counts: FloatArray, correct: FloatArray, losses: FloatArray, owner: IntArray, distances: FloatArray
) -> IntArray:
    """The version chosen in every draw of `counts` `(b, n)`, `(b,)`."""
    weights = counts.astype(np.float32)
    total = weights.sum(axis=1, keepdims=True)
    top1 = weights @ correct.T.astype(np.float32) / total
    nll = weights @ losses.T.astype(np.float32) / total
    draws = np.arange(len(counts))
    picks = np.stack(
        [np.flatnonzero(owner == a)[nll[:, owner == a].argmin(axis=1)] for a in range(int(owner.max()) + 1)], axis=1
    )
    own_top1, own_nll = np.take_along_axis(top1, picks, axis=1), np.take_along_axis(nll, picks, axis=1)
    most = picks[draws, own_top1.argmax(axis=1)]
    level = own_top1.max(axis=1, keepdims=True) - own_top1 <= LEVEL * distances[most[:, None], picks] + 1e-6
    return np.asarray(picks[draws, np.where(level, own_nll, np.inf).argmin(axis=1)])


def _distances(correct: FloatArray, groups: IntArray | None) -> FloatArray:
    """Paired standard errors of all versions' accuracies against each other, `(C, C)`."""
    centred = correct - correct.mean(axis=1, keepdims=True)
    n = correct.shape[1]
    if groups is not None:
        _, inverse = np.unique(groups, return_inverse=True)
        centred = np.stack([np.bincount(inverse, weights=row) for row in centred])
    gram = centred @ centred.T
    own = np.diag(gram)
    count = centred.shape[1]
    squares = np.maximum(own[:, None] + own[None] - 2 * gram, 0)
    return np.asarray(np.sqrt(squares * count / max(count - 1, 1)) / n)


def chance(gain: float, error: float) -> float:
    """P(true gain > 0) of a normal estimate; one half where both sides do the same on every row."""
    if error <= 0:
        return 0.5 if gain == 0 else float(gain > 0)
    return 0.5 * (1 + erf(gain / error / sqrt(2)))
