"""Finalists: the best closed-form heads of the screen as candidates, with all their out-of-fold results."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.howmuch.choice import Judged, judge_logits
from headstart.howmuch.screen import Screened, Task, closed_logits
from headstart.predictions import MOST_CELLS

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

FINALISTS = 4  # closed-form heads that become candidates


def ranked(task: Task, screened: Sequence[Screened]) -> list[Screened]:
    """The heads of the screen, the most accurate first, each at its best penalty."""
    return sorted(screened, key=lambda s: -float(s.correct[s.best(task.judged)][task.judged].mean()))


def closed_candidates(
    task: Task, names: Sequence[str], screened: Sequence[Screened], groups: IntArray | None
) -> list[Judged]:
    """The best heads of the screen, one kind per set, and the best of the last layer."""
    order = ranked(task, screened)
    last = (len(task.columns.matrices) - 1,)
    picked = order[:FINALISTS]
    picked += (
        [next(s for s in order if s.depth_set.depths == last)]
        if all(s.depth_set.depths != last for s in picked)
        else []
    )
    if task.cells > MOST_CELLS:  # one after the other, and none kept
        return [closed_alone(task, names, s, groups).bare() for s in picked]
    started = time.perf_counter()
    best = [s.best(task.judged) for s in picked]
    penalties = [s.penalties[at] for s, at in zip(picked, best, strict=True)]
    logits: dict[int, FloatArray] = {}
    for i, s in enumerate(picked):
        if s.logits is not None:
            logits[i] = s.logits[best[i]]
    again = [i for i in range(len(picked)) if i not in logits]
    if again:
        again_sets = [picked[i].depth_set for i in again]
        found = closed_logits(task, again_sets, [picked[i].kind for i in again], [penalties[i] for i in again])
        logits.update(zip(again, found, strict=True))
    seconds = (time.perf_counter() - started) / len(picked)
    return [
        judge_logits(task, names, s.depth_set, logits[i], (s.kind, penalties[i], seconds, groups))
        for i, s in enumerate(picked)
    ]


def closed_alone(task: Task, names: Sequence[str], screened: Screened, groups: IntArray | None) -> Judged:
    """One head of the screen, at its best penalty."""
    started = time.perf_counter()
    penalty = screened.penalties[screened.best(task.judged)]
    logits = closed_logits(task, [screened.depth_set], [screened.kind], [penalty])[0]
    how = (screened.kind, penalty, time.perf_counter() - started, groups)
    return judge_logits(task, names, screened.depth_set, logits, how)
