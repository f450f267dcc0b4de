"""Turning out-of-fold logits into candidates, and choosing among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.calibrate import fit_temperature, spacing
from headstart.evaluation.intervals import accuracy_interval, paired_standard_error
from headstart.evaluation.metrics import row_nll
from headstart.head.ridge import DepthSet
from headstart.howmuch.candidates import Candidate
from headstart.howmuch.screen import Task
from headstart.predictions import MOST_CELLS, blocks

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

LEVEL_TOP1 = 1.0  # paired standard errors within which heads count as level
ROUNDING = 1e-12


@dataclass(frozen=True)
class Judged:
    """A candidate with its evidence, averaged over repeats.

    `logits` `(n, K)` are calibrated, NaN where a row was never judged, `repeats` `(repeats, n, K)` the same of every
    partition, both without rows where they were not kept (`bare`); `correct` and `losses` are `(n,)`.
    """

    candidate: Candidate
    logits: FloatArray
    correct: FloatArray
    losses: FloatArray
    repeats: FloatArray

    def bare(self) -> Judged:
        """The same without logits, which are large where pictures and classes are many."""
        return replace(self, logits=self.logits[:0].copy(), repeats=self.repeats[:, :0].copy())

    def with_members(self, members: tuple[Candidate, ...]) -> Judged:
        """The same evidence of a candidate that is the mean of `members`."""
        return replace(self, candidate=replace(self.candidate, members=members))


def judge_logits(
    task: Task,
    names: Sequence[str],
    depth_set: DepthSet,
    logits: FloatArray,
    how: tuple[str, float, float, IntArray | None],
) -> Judged:
    """`logits` `(repeats, n, K)` out of fold, of many overwritten; `how` = kind, penalty, seconds, groups."""
    kind, penalty, seconds, groups = how
    present = np.isfinite(logits[:, :, 0])
    repeat, row = np.nonzero(present)
    some = slice(None, None, spacing(len(row), task.n_classes))
    temperature = fit_temperature(logits[repeat[some], row[some]], task.labels[row[some]])
    large = logits.size > MOST_CELLS
    # of many pictures and classes a second copy would be hundreds of megabytes, and only the winner's are needed again
    logits = np.divide(logits, np.float32(temperature), out=logits if large else None)
    counts = present.sum(axis=0)
    correct, losses = np.zeros(present.shape), np.zeros(present.shape)
    for at in blocks(len(row), task.n_classes):
        own, labels = logits[repeat[at], row[at]], task.labels[row[at]]
        correct[repeat[at], row[at]] = own.argmax(axis=1) == labels
        losses[repeat[at], row[at]] = row_nll(own, labels)
    judged = counts > 0
    if len(logits) == 1:
        mean = logits[0]  # not a second time in memory
    else:
        mean = np.full(logits.shape[1:], np.nan, np.float32)
        mean[judged] = np.nansum(logits[:, judged], axis=0) / counts[judged, None]
    right = correct.sum(axis=0) / np.maximum(counts, 1)
    loss = losses.sum(axis=0) / np.maximum(counts, 1)
    low, high = accuracy_interval(right[judged], None if groups is None else groups[judged])
    candidate = Candidate(
        depths=depth_set.depths,
        names=tuple(names[i] for i in depth_set.depths),
        dims=tuple(task.columns.matrices[i].shape[1] for i in depth_set.depths),
        factors=depth_set.factors,
        kind=kind,
        penalty=penalty,
        temperature=temperature,
        top1=float(right[judged].mean()),
        nll=float(loss[judged].mean()),
        low=low,
        high=high,
        seconds=seconds,
    )
    return Judged(candidate, mean, right, loss, logits)


def choose(candidates: Sequence[Judged], judged: NDArray[np.bool_]) -> Judged:
    """Of the heads level with the most accurate the one with the lowest log-loss; of equals that of fewest features.

    Measured by `benchmarks/few_pictures.py` with 5 / 10 / 20 pictures per class and up to 600 pictures, against taking
    the fewest features of those within two standard errors in log-loss, as it was before.
    """
    best = max(candidates, key=lambda c: (c.candidate.top1, -c.candidate.nll))
    level = [
        c
        for c in candidates
        if best.candidate.top1 - c.candidate.top1
        <= LEVEL_TOP1 * paired_standard_error(best.correct[judged], c.correct[judged]) + ROUNDING
    ]
    return min(level, key=lambda c: (c.candidate.nll, c.candidate.dim))
