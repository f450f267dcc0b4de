"""Suspects: which labels are probably wrong, from calibrated out-of-fold logits.

Ranked as in confident learning (Northcutt 2021) by self-confidence, the probability of the given label: with 3 % of
labels flipped on purpose it found more of them than margins, thresholds per class or nearest neighbours
(benchmarks/label_errors.py). Which of them to name is another question: the confident joint names every second mistake
of an unsure classifier, flipped or not. Here a label is named when a mixture explains it better by a label drawn at
random than by the classifier, the share of such labels and the temperature estimated together. Where a classifier is
merely often wrong, but knows it, that share is zero and nothing is named.

All functions take logits `(n, K)` out of fold, labels `(n,)`, and the temperature that calibrates the logits. Rows that
are not finite were not judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.predictions import blocks, probability_of, taken

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

TINY = 1e-12
DROP = 1.92  # log-likelihood below the best at the ends of a 95 % interval
SURE = 0.5  # chance of being wrong from which a label is named
CELLS = 4_000_000  # rows x classes that the share is estimated on; of more, evenly spaced rows
_TEMPERATURES = np.geomspace(0.2, 1.25, 20)  # of the calibrated one: wrong labels had made it too warm
_SHARES = np.concatenate([[0.0], np.geomspace(0.0005, 0.5, 40)])


@dataclass(frozen=True)
class Noise:
    """Estimated `share` of wrong labels with its 95 % interval; `chances` `(n,)` of each label to be wrong, 0..1."""

    share: float
    low: float
    high: float
    chances: FloatArray


def suspects(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> tuple[IntArray, FloatArray]:
    """All n rows, most suspect first, and the score of every row `(n,)`, 0..1: one minus the probability of its label.

    Rows that are not finite come last, score -1.
    """
    logits, labels, finite = _checked(logits, labels)
    scores = np.full(len(logits), -1.0)
    scores[finite] = 1.0 - probability_of(taken(logits, finite), labels[finite], temperature)
    return np.argsort(-scores, kind="stable"), scores


def suspected(logits: FloatArray, labels: IntArray, temperature: float = 1.0, noise: Noise | None = None) -> IntArray:
    """Rows whose label is more probably wrong than right, most suspect first; `noise` when it is known already."""
    noise = label_noise(logits, labels, temperature) if noise is None else noise
    likely = likely_labels(logits, labels)
    rows = np.arange(len(likely))
    other, own = (np.asarray(logits)[rows, of] for of in (likely, np.asarray(labels)))
    named = (noise.chances > SURE) & (other > own)
    order, _ = suspects(logits, labels, temperature)
    return order[named[order]]


def likely_labels(logits: FloatArray, labels: IntArray) -> IntArray:
    """The most probable class other than the label, of every row `(n,)`."""
    logits, labels, finite = _checked(logits, labels)
    found = np.empty(len(logits), np.int64)
    for rows in blocks(*logits.shape):
        others = np.where(finite[rows, None], logits[rows], 0.0)
        others[np.arange(len(others)), labels[rows]] = -np.inf
        found[rows] = others.argmax(axis=1)
    return found


def label_noise(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> Noise:
    """How many labels are wrong, by maximum likelihood of `(1 - e) softmax(logits / T)[label] + e / K` in e and T."""
    logits, labels, finite = _checked(logits, labels)
    chances = np.zeros(len(logits))
    k, rows = logits.shape[1], np.flatnonzero(finite)
    if not len(rows):
        return Noise(0.0, 0.0, 1.0, chances)
    some = rows[:: max(1, len(rows) * k // CELLS)]
    table = np.empty((len(_TEMPERATURES), len(_SHARES)))
    for i, colder in enumerate(_TEMPERATURES):
        own = probability_of(logits[some], labels[some], colder * temperature)
        for j, share in enumerate(_SHARES):
            table[i, j] = np.log((1 - share) * own + share / k + TINY).sum()
    profile = table.max(axis=0)
    at = int(profile.argmax())
    inside = _SHARES[profile >= profile[at] - DROP]
    best = _TEMPERATURES[table[:, at].argmax()]
    own = probability_of(taken(logits, finite), labels[rows], best * temperature)
    drawn = _SHARES[at] / k
    # drawn at random, and not right by chance
    chances[rows] = (1 - own) * drawn / ((1 - _SHARES[at]) * own + drawn + TINY)
    wrong = (k - 1) / k
    return Noise(float(wrong * _SHARES[at]), float(wrong * inside.min()), float(wrong * inside.max()), chances)


def _checked(logits: FloatArray, labels: IntArray) -> tuple[FloatArray, IntArray, NDArray[np.bool_]]:
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != (len(logits),):
        raise ValueError(f"expected (n, K) logits with K > 1 and (n,) labels, not {logits.shape} and {labels.shape}")
    return logits, labels, np.isfinite(logits.max(axis=1)) & np.isfinite(logits.min(axis=1))
