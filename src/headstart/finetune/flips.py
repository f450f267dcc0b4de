"""Flips that break labels are found out: heads that never saw a picture judge it flipped and as it is.

A 2 mirrored is no 2, a left arrow mirrored is a right arrow; a solar cell stays the cell it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.engine.engine import Engine
from headstart.engine.openvino import OpenVinoEngine
from headstart.finetune.viewpass import ViewPass, pass_over
from headstart.finetune.views import Flip, View
from headstart.images.open import Source

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
Predict = Callable[[IntArray, FloatArray], FloatArray]

FLIPS: tuple[Flip, ...] = ("horizontal", "vertical", "both")
MOST_PICTURES = 256
# A backbone that learned from flipped pictures hardly tells left from right, and a head always likes the side it
# learned from a little better: what log-loss rises by when labels are kept and when they are not lies close together.
# Mirrored left to right, 256 pictures, heads on the last and on three depths, in shares of the log-loss: solar cells
# 0.03 and 0.04, photographs and drawings of animals 0.05 and 0.04, emoji 0.01; digits 0.09, 0.25 (MNIST), 0.49, 0.82.
_RISE = 0.07
_LEAST_RISE = 0.01  # of a log-loss near zero every share is noise
_TOLERANCE = 0.02  # five of 256 pictures


@dataclass(frozen=True)
class FlipProbe:
    """What is known of n pictures, and who judges them.

    `labels` `(n,)` in 0..K-1; `vectors` `(n, d)` the head's `depths` side by side; `predict(rows, vectors)` gives
    logits `(m, K)` of heads trained without `rows`, for other vectors of those rows; `rows` that may be used (None:
    all).
    """

    sources: Sequence[Source]
    labels: IntArray
    vectors: FloatArray
    depths: Sequence[int]
    predict: Predict
    rows: IntArray | None = None


@dataclass(frozen=True)
class FlipVerdict:
    """Whether `flip` keeps labels, and why: `drop` of the accuracy (0..1) and `rise` of the log-loss on `pictures`.

    Both with their paired standard errors.
    """

    flip: Flip
    kept: bool
    pictures: int
    drop: float
    drop_error: float
    rise: float
    rise_error: float


def label_keeping_flips(
    probe: FlipProbe,
    backbone: Backbone,
    flips: Sequence[Flip] = FLIPS,
    seed: int = 0,
    most: int = MOST_PICTURES,
) -> tuple[FlipVerdict, ...]:
    """Embed at most `most` pictures, the same share of every class, through each of `flips`, and judge them.

    A flip is refused when accuracy drops by more than 2 points and a paired standard error, or log-loss rises by 7 %
    and more than a standard error. Costs one decode per picture, and a full pass per picture and flip.
    """
    if not flips:
        return ()
    rows = spread_rows(probe.labels, most, seed, probe.rows)
    turned = _embed_flipped(probe, backbone, rows, flips)
    labels = np.asarray(probe.labels)[rows]
    before = probe.predict(rows, np.asarray(probe.vectors)[rows])
    return tuple(judge(flip, before, probe.predict(rows, turned[:, i]), labels) for i, flip in enumerate(flips))


def judge(flip: Flip, before: FloatArray, after: FloatArray, labels: IntArray) -> FlipVerdict:
    """Compare logits `(m, K)` of the same pictures as they are and flipped."""
    right_before, right_after = (logits.argmax(axis=1) == labels for logits in (before, after))
    drop, drop_error = _mean_and_error(right_before.astype(np.float64) - right_after)
    loss_before, loss_after = _losses(before, labels), _losses(after, labels)
    rise, rise_error = _mean_and_error(loss_after - loss_before)
    loss = float(loss_before.mean())
    worse = drop > _TOLERANCE + drop_error or rise > max(_RISE * loss, _LEAST_RISE, rise_error)
    return FlipVerdict(flip, not worse, len(labels), drop, drop_error, rise, rise_error)


def spread_rows(labels: IntArray, most: int, seed: int, allowed: IntArray | None = None) -> IntArray:
    """At most `most` row numbers, ascending, the same share of every class as far as rounding allows."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(labels)) if allowed is None else np.asarray(allowed)
    rows = rng.permutation(rows)
    own = np.asarray(labels)[rows]
    place = np.empty(len(rows))  # where in its class a row stands, 0..1
    for label in np.unique(own):
        mine = np.flatnonzero(own == label)
        place[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    chosen: IntArray = np.sort(rows[np.argsort(place, kind="stable")[:most]])
    return chosen


def _embed_flipped(probe: FlipProbe, backbone: Backbone, rows: IntArray, flips: Sequence[Flip]) -> FloatArray:
    """Vectors `(m, flips, d)` of the head's depths side by side."""
    names = [backbone.depths[d].name for d in probe.depths]
    make: Callable[[], Engine] = partial(_engine, backbone, names)
    what = ViewPass(backbone.preprocessing, tuple(View(flip) for flip in flips))
    parts = [
        np.concatenate([outputs[name] for name in names], axis=2)
        for _, outputs in pass_over([probe.sources[row] for row in rows], what, make)
    ]
    return np.concatenate(parts)


def _engine(backbone: Backbone, names: Sequence[str]) -> OpenVinoEngine:
    return OpenVinoEngine(backbone.graph(), names)


def _losses(logits: FloatArray, labels: IntArray) -> NDArray[np.float64]:
    wide = np.asarray(logits, np.float64)
    wide = wide - wide.max(axis=1, keepdims=True)
    losses: NDArray[np.float64] = np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(wide)), labels]
    return losses


def _mean_and_error(differences: NDArray[np.float64]) -> tuple[float, float]:
    n = len(differences)
    return float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
