"""Several heads as one: where pictures are too few to tell heads apart, their mean is better than what seems best.

Logits of linear heads are linear in the features, and so is their mean: it is one linear head on all the depths that
its members read, and is saved, explained and exported like any other. Measured by `benchmarks/few_pictures.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.head.columns import Columns
from headstart.head.linear import LinearHead
from headstart.head.ridge import DepthSet
from headstart.howmuch.candidates import Candidate
from headstart.howmuch.choice import Judged, judge_logits
from headstart.howmuch.screen import Task, closed_logits, fit_head, logistic_logits

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MEAN = "mean"  # the kind of such a candidate; its penalty is not a number


def mean_of(task: Task, names: Sequence[str], judged: Sequence[Judged], groups: IntArray | None) -> Judged:
    """The mean of the calibrated logits of `judged`, itself calibrated and judged."""
    started = time.perf_counter()
    members = tuple(j.candidate for j in judged)
    depths = tuple(sorted({d for c in members for d in c.depths}))
    logits = np.mean([j.repeats for j in judged], axis=0)
    seconds = time.perf_counter() - started
    whole = DepthSet(depths, (1.0,) * len(depths))
    found = judge_logits(task, names, whole, logits, (MEAN, float("nan"), seconds, groups))
    return found.with_members(members)


def fit_candidate(task: Task, candidate: Candidate, rows: IntArray | None = None) -> LinearHead:
    """The head of a candidate on `rows` (all by default), before its temperature; it reads the candidate's depths."""
    if not candidate.members:
        return fit_head(task, candidate.depth_set, candidate.kind, candidate.penalty, rows)
    heads = [fit_head(task, c.depth_set, c.kind, c.penalty, rows) for c in candidate.members]
    return _together(task.columns, candidate, heads)


def candidate_logits(task: Task, candidate: Candidate) -> FloatArray:
    """Out-of-fold logits `(repeats, n, K)` of a candidate, before its temperature; NaN where a row is not judged."""
    if candidate.members:
        calm = [candidate_logits(task, c) / np.float32(c.temperature) for c in candidate.members]
        return np.asarray(np.mean(calm, axis=0), np.float32)
    every = (
        logistic_logits(task, candidate.depth_set, [candidate.penalty])
        if candidate.kind == "logistic"
        else closed_logits(task, [candidate.depth_set], [candidate.kind], [candidate.penalty])
    )
    return np.asarray(every[0], np.float32)


def averaged_logits(task: Task, candidate: Candidate) -> FloatArray:
    """The same at its temperature, `(n, K)`: the mean over repeats."""
    logits = candidate_logits(task, candidate)
    logits /= np.float32(candidate.temperature)
    if len(logits) == 1:
        return np.asarray(logits[0])  # not a second time in memory
    counts = np.isfinite(logits[:, :, 0]).sum(axis=0)
    mean = np.full(logits.shape[1:], np.nan, np.float32)
    mean[counts > 0] = np.nansum(logits[:, counts > 0], axis=0) / counts[counts > 0, None]
    return mean


def _together(columns: Columns, candidate: Candidate, heads: Sequence[LinearHead]) -> LinearHead:
    """One head on the depths of `candidate` whose logits are the mean of its members', each at its temperature."""
    own = columns.pick(candidate.depths)
    place = {depth: at for at, depth in enumerate(candidate.depths)}
    weights = np.zeros((len(heads[0].bias), own.d))
    bias = np.zeros(len(heads[0].bias))
    for member, head in zip(candidate.members, heads, strict=True):
        slope, offset = head.folded()
        share = 1.0 / (len(heads) * member.temperature)
        weights[:, own.indices([place[d] for d in member.depths])] += share * slope
        bias += share * offset
    return LinearHead(weights * own.scale, bias + weights @ own.mean, own.mean, own.scale)
