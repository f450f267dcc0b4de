"""The probe: linear heads at every depth, all folds and penalties together. Its winner is answer A.

Closed-form heads (ridge, shrunk discriminants) screen every depth set; the best of them, and logistic regression on
the most promising sets and on the last layer, become candidates; the cross-validated best is refit on all rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import accuracy_interval, paired_bootstrap, paired_standard_error
from headstart.evaluation.selection import Corrected, bbc_cv
from headstart.head.columns import columns_of
from headstart.head.linear import LinearHead
from headstart.head.parallel import calm
from headstart.head.ridge import DepthSet
from headstart.heap import give_back
from headstart.howmuch.candidates import (
    FEW,
    FIXED_PENALTY,
    LOGISTIC_PENALTIES,
    MANY_CLASSES,
    MANY_CLASSES_PENALTIES,
    Candidate,
    depth_sets,
    fixed_set,
    penalties_of,
)
from headstart.howmuch.choice import Judged, choose, judge_logits
from headstart.howmuch.committee import averaged_logits, fit_candidate, mean_of
from headstart.howmuch.corrected_mean import corrected_mean
from headstart.howmuch.curve import learning_curve
from headstart.howmuch.finalists import FINALISTS, closed_candidates, ranked
from headstart.howmuch.screen import (
    Screened,
    Task,
    affordable,
    closed_logits,
    logistic_logits,
    screen,
)

__all__ = ["Candidate", "DepthResult", "Probe", "ProbeOptions", "out_of_fold", "probe", "right_out_of_fold"]

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

LOGISTIC_SETS = 2
CLEARLY = 2.0  # paired standard errors by which one head has to beat the mean of all


@dataclass(frozen=True)
class DepthResult:
    """How well one depth alone does out of fold (`top1` with its 95 % interval)."""

    name: str
    dim: int
    top1: float
    low: float
    high: float


@dataclass(frozen=True)
class Probe:
    """What `probe` found. Logits are out of fold, averaged over repeats, zero where `judged` is False.

    `reference` is the last layer alone with its own best penalty; `corrected_*` the chosen head's accuracy corrected
    for having chosen (BBC-CV) with its interval; `p_better` the bootstrap probability that it beats the reference.
    `head` takes the chosen depths side by side. `learning_curve` holds (training pictures, top-1).
    """

    profile: tuple[DepthResult, ...]
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    reference: Candidate
    head: LinearHead
    logits: FloatArray
    judged: NDArray[np.bool_]
    learning_curve: tuple[tuple[int, float], ...]
    corrected_top1: float
    corrected_low: float
    corrected_high: float
    p_better: float
    seconds: Mapping[str, float]

    @property
    def alone(self) -> tuple[Candidate, ...]:
        """The candidates that are no mean of others."""
        return tuple(c for c in self.candidates if not c.members)


@dataclass(frozen=True)
class ProbeOptions:
    """`seed` of bootstraps and subsets; `groups` `(n,)` ids of rows that belong together, for intervals, or None."""

    seed: int = 0
    groups: IntArray | None = None


def probe(
    matrices: Sequence[FloatArray],
    depth_names: Sequence[str],
    labels: IntArray,
    n_classes: int,
    folds: IntArray,
    options: ProbeOptions | None = None,
) -> Probe:
    """Choose depths, kind of head and penalty by cross-validation; refit the winner on all rows.

    `matrices`: one float16/32 `(n, d_i)` per depth, the last one the network's final layer; `labels` `(n,)` in
    0..K-1; `folds` int64 `(repeats, n)`, -1 = always in training, never judged. Raises ValueError when no row is
    judged (see `unjudged`) or a training side holds fewer than two classes.
    """
    options = options or ProbeOptions()
    task = Task(columns_of(matrices), np.asarray(labels, np.int64), n_classes, _checked(folds, labels))
    dims = [m.shape[1] for m in matrices]
    sets = depth_sets(dims, task.columns.n)
    clock = _Clock()
    screened = screen(task, sets, [penalties_of(s, dims, task.columns.n, n_classes) for s in sets])
    clock.lap("screen")
    candidates = closed_candidates(task, depth_names, screened, options.groups)
    clock.lap("closed")
    candidates += _logistic_candidates(task, depth_names, screened, options)
    clock.lap("logistic")
    winner = choose(candidates, task.judged)
    if task.columns.n <= FEW:
        winner = _of_few(task, depth_names, candidates, winner, options)
    last = (len(dims) - 1,)
    reference = choose([c for c in candidates if c.candidate.depths == last], task.judged)
    with calm():
        better = paired_bootstrap(
            winner.correct[task.judged], reference.correct[task.judged], _judged_groups(task, options), options.seed
        )
        corrected = _corrected(task, screened, candidates, winner, options)
    clock.lap("bootstrap")
    chosen = winner.candidate
    work = task.columns.n * chosen.dim * (task.n_classes if chosen.kind == "logistic" else 1)
    with calm(work):
        curve = learning_curve(task, chosen, options.seed)
        clock.lap("curve")
        head = _cooled(fit_candidate(task, chosen), chosen.temperature)
        clock.lap("refit")
    return Probe(
        profile=_profile(task, depth_names, screened, candidates, options),
        candidates=tuple(sorted((c.candidate for c in candidates), key=lambda c: -c.top1)),
        chosen=chosen,
        reference=reference.candidate,
        head=head,
        logits=_logits_of(task, winner),
        judged=task.judged,
        learning_curve=curve,
        corrected_top1=corrected.value,
        corrected_low=corrected.low,
        corrected_high=corrected.high,
        p_better=better.p_better,
        seconds=clock.laps,
    )


def out_of_fold(
    matrices: Sequence[FloatArray], labels: IntArray, n_classes: int, folds: IntArray, candidate: Candidate
) -> FloatArray:
    """Out-of-fold logits `(n, K)` of a given head under other folds, `(repeats, n)` or `(n,)`; NaN = never judged.

    `matrices`: one `(n, d_i)` per depth of the candidate, in its order.
    """
    task = Task(columns_of(matrices), np.asarray(labels, np.int64), n_classes, _checked(folds, labels))
    return averaged_logits(task, _side_by_side(candidate))


def right_out_of_fold(
    matrices: Sequence[FloatArray], labels: IntArray, n_classes: int, folds: IntArray, candidate: Candidate
) -> FloatArray:
    """As `out_of_fold`, but only whether each row is right `(n,)`: 1, 0 or NaN; closed forms keep no logits for it.

    `folds` `(n,)`.
    """
    labels, one = np.asarray(labels, np.int64), _side_by_side(candidate)
    if one.members or one.kind == "logistic":
        logits = out_of_fold(matrices, labels, n_classes, folds, candidate)
        return np.where(np.isfinite(logits[:, 0]), logits.argmax(axis=1) == labels, np.nan)
    task = Task(columns_of(matrices), labels, n_classes, _checked(folds, labels))
    found = next(s for s in screen(task, [one.depth_set], [(one.penalty,)]) if s.kind == one.kind)
    return np.where(task.judged, found.correct[0], np.nan)


def _of_few(
    task: Task, names: Sequence[str], candidates: list[Judged], winner: Judged, options: ProbeOptions
) -> Judged:
    """The mean of all heads and of a fixed one, all candidates now, unless the winner clearly beats it."""
    depth_set = fixed_set(len(names))
    started = time.perf_counter()
    logits = closed_logits(task, [depth_set], ["ridge"], [FIXED_PENALTY])[0]
    seconds = time.perf_counter() - started
    candidates.append(judge_logits(task, names, depth_set, logits, ("ridge", FIXED_PENALTY, seconds, options.groups)))
    mean = mean_of(task, names, candidates, options.groups)
    candidates.append(mean)
    error = paired_standard_error(winner.correct[task.judged], mean.correct[task.judged])
    return winner if winner.candidate.top1 - mean.candidate.top1 > CLEARLY * error else mean


def _side_by_side(candidate: Candidate) -> Candidate:
    """The candidate where its depths, in their order, are all that there is."""
    place = {depth: at for at, depth in enumerate(candidate.depths)}

    def moved(one: Candidate) -> Candidate:
        return replace(one, depths=tuple(place[d] for d in one.depths), members=tuple(map(moved, one.members)))

    return moved(candidate)


def _logits_of(task: Task, winner: Judged) -> FloatArray:
    """Float32 logits `(n, K)` of the winner, zero where nothing is judged; computed again where none were kept."""
    logits = np.asarray(winner.logits, np.float32)
    if not len(logits):
        logits = averaged_logits(task, winner.candidate)
    logits[~task.judged] = 0  # in place: nobody else reads them any more
    return logits


def _logistic_candidates(
    task: Task, names: Sequence[str], screened: Sequence[Screened], options: ProbeOptions
) -> list[Judged]:
    """Logistic regression on the last layer, on all depths evened out, and on the best sets of the screen."""
    singles = [(i,) for i in range(len(task.columns.matrices))]
    sets: list[DepthSet] = [DepthSet(singles[-1], (1.0,))]
    widest = screened[-1].depth_set
    wanted = 2 + (LOGISTIC_SETS if task.n_classes < MANY_CLASSES else 0)
    for depth_set in [widest, *(s.depth_set for s in ranked(task, screened))]:
        if depth_set not in sets and len(sets) < wanted:
            sets.append(depth_set)
    found = []
    for depth_set in sets:
        if not affordable(task, depth_set):
            continue
        started = time.perf_counter()
        penalties = LOGISTIC_PENALTIES if task.n_classes < MANY_CLASSES else MANY_CLASSES_PENALTIES
        path = logistic_logits(task, depth_set, penalties)
        complete = [i for i in range(len(path)) if not np.isnan(path[i][:, task.judged]).all(axis=(0, 2)).any()]
        seconds = time.perf_counter() - started
        judged = [
            judge_logits(task, names, depth_set, path[i], ("logistic", penalties[i], seconds, options.groups))
            for i in complete
        ]
        found.append(min(judged, key=lambda j: j.candidate.nll))
    return found


def _corrected(
    task: Task, screened: Sequence[Screened], candidates: Sequence[Judged], winner: Judged, options: ProbeOptions
) -> Corrected:
    """What was done with everything that was screened, repeated inside a bootstrap of rows (or groups)."""
    groups = _judged_groups(task, options)
    if winner.candidate.members:
        always = [c for c in candidates if _not_picked(c.candidate, len(task.columns.matrices), screened[-1].depth_set)]
        found = corrected_mean(task, screened, always, FINALISTS, groups, options.seed)
        if found is not None:
            return found
    rows = np.concatenate([s.correct for s in screened] + [c.correct[None].astype(np.float32) for c in candidates])[
        :, task.judged
    ]
    return bbc_cv(rows, rows, groups, options.seed)


def _not_picked(candidate: Candidate, depths: int, widest: DepthSet) -> bool:
    """Whether a candidate is one whatever it reaches: the fixed head, logistic regression on the last layer or all."""
    if candidate.kind == "logistic":
        return candidate.depths == (depths - 1,) or candidate.depth_set == widest
    return (candidate.kind, candidate.penalty, candidate.depth_set) == ("ridge", FIXED_PENALTY, fixed_set(depths))


def _profile(
    task: Task,
    names: Sequence[str],
    screened: Sequence[Screened],
    candidates: Sequence[Judged],
    options: ProbeOptions,
) -> tuple[DepthResult, ...]:
    found = []
    for i, name in enumerate(names):
        alone = [s.correct[s.best(task.judged)] for s in screened if s.depth_set.depths == (i,)]
        alone += [c.correct for c in candidates if c.candidate.depths == (i,)]
        best = max((correct[task.judged] for correct in alone), key=lambda correct: float(correct.mean()))
        low, high = accuracy_interval(best, _judged_groups(task, options))
        found.append(DepthResult(name, task.columns.matrices[i].shape[1], float(best.mean()), low, high))
    return tuple(found)


def _cooled(head: LinearHead, temperature: float) -> LinearHead:
    """The head with a temperature folded in."""
    return LinearHead(head.weights / temperature, head.bias / temperature, head.mean, head.scale)


def _judged_groups(task: Task, options: ProbeOptions) -> IntArray | None:
    return None if options.groups is None else np.asarray(options.groups)[task.judged]


def _checked(folds: IntArray, labels: IntArray) -> IntArray:
    folds = np.atleast_2d(np.asarray(folds, np.int64))
    if folds.shape[1] != len(labels):
        raise ValueError(f"folds for {folds.shape[1]} rows do not fit {len(labels)} labels")
    for repeat in folds:
        parts = np.unique(repeat[repeat >= 0])
        if len(parts) == 0:
            raise ValueError("no row is ever judged: every fold is -1")
        for part in parts:
            if len(np.unique(labels[repeat != part])) < 2:
                raise ValueError(f"the training side of fold {part} holds fewer than two classes")
    return folds


class _Clock:
    """Seconds per part, at whose end freed memory goes back to the system."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        give_back()
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
