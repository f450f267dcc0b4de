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
ROOM = 50_000_000  # float32 logits that are held at once where those of a head are many: 200 MB, but those of one head


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
    together = len(picked) if task.cells <= MOST_CELLS else max(1, ROOM // task.cells)
    found = _judged(task, names, picked[:together], groups)
    if task.cells > ROOM:
        found = [one.bare() for one in found]
    for at in range(together, len(picked), together):  # the first were the best of the screen: their logits stay
        found += [one.bare() for one in _judged(task, names, picked[at : at + together], groups)]
    return found


def _judged(task: Task, names: Sequence[str], picked: Sequence[Screened], groups: IntArray | None) -> list[Judged]:
    """Heads of the screen, each at its best penalty; those whose logits were not kept in one pass over the folds."""
    started = time.perf_counter()
    best = [s.best(task.judged) for s in picked]
    penalties = [s.penalties[at] for s, at in zip(picked, best, strict=True)]
    logits = {i: s.logits[best[i]] for i, s in enumerate(picked) if s.logits is not None}
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
