"""The decision: more training only where it is better beyond noise, otherwise less; and one sentence that says so.

The rule (`clear`): P(better in accuracy) >= 0.9, or P(better in log-loss) >= 0.975 and in accuracy >= 0.6; both
corrected for having chosen among all arms, epochs and blends (`better`). Where the amount gained on other pictures of
the kind, that counts, and P(better in accuracy) >= 0.8 is enough (`experience`). Ties go to less training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.findings import no_better_than_guessing
from headstart.evaluation.intervals import Z95, accuracy_interval, paired_standard_error
from headstart.howmuch.arm import Amount, Arm, FrozenAnswer, amount_order
from headstart.howmuch.at_large import AtLarge
from headstart.howmuch.better import P_TOP1, Better, Scores, better
from headstart.howmuch.experience import LEAST_JUDGED, informed
from headstart.howmuch.lane import ArmRun, RaceResult
from headstart.howmuch.score import Score, Version, frozen_on, ranked
from headstart.howmuch.wording import sentence

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

P_NLL, P_NOT_WORSE = 0.975, 0.6
P_NOT_GUESSING = 0.975  # as in findings.no_better_than_guessing


@dataclass(frozen=True)
class Verdict:
    """What to train. `arm` and `version` (epochs, blend) say how to refit, None for only a new head.

    `top1`, `low`, `high`: corrected for having chosen; `uncorrected_top1`: what the judged rows say. `logits` `(n, K)`
    out of fold, cooled by `temperature` (that of the arm's own logits), zero where `judged` `(n,)` is False.
    `p_better`: that the best arm beats the new head, by `judged_by` "accuracy" or "log-loss"; None when none ran;
    `p_here`: in accuracy, from these pictures alone.
    `gain`: in accuracy, corrected. `guessing`: no better than always saying the most frequent class. `why`: a sentence.
    `kept`: what one of the arm's units trained is saved as it is, without a final training on all pictures.
    """

    train: Amount
    arm: Arm | None
    version: Version | None
    temperature: float
    top1: float
    low: float
    high: float
    uncorrected_top1: float
    logits: FloatArray
    judged: NDArray[np.bool_]
    p_better: float | None
    judged_by: str
    gain: float | None
    guessing: bool
    why: str
    p_here: float | None = None
    kept: bool = False


def clear(compared: Better) -> bool:
    """Whether the first side is better beyond noise.

    Simulated with whole races of 12 arms (benchmarks/decision_rule.py; 100 / 60 / 60 of them): share that ended in more
    training on 50 / 200 / 600 pictures, and mean regret in points.

        rule                       none better      one amount +3                       up to +4
        accuracy                   .05 .08 .08      .20 .68 1.0   2.49 1.05 0.00        .32 .83 1.0   2.99 0.92 0.07
        or log-loss .95, top-1 .5  .08 .17 .10      .42 .95 1.0   1.83 0.15 0.00        .68 1.0 1.0   1.75 0.17 0.00
        this rule                  .07 .12 .08      .38 .93 1.0   1.98 0.20 0.00        .58 .97 1.0   2.08 0.33 0.00

    False alarms of this rule over 120 races of 200 pictures: .08; of accuracy not corrected for the choice: about .3.
    Log-loss tells more per picture; alone it would also take what is only better calibrated.
    """
    return compared.p >= compared.needed or (compared.p_nll >= P_NLL and compared.p >= P_NOT_WORSE)


def judge_race(answer: FrozenAnswer, result: RaceResult, pinned: Amount = "auto", seed: int = 0) -> Verdict:
    """Decide between answer A and the arms of a race. `pinned`: the amount the user asked for; it wins if it ran."""
    frozen = _frozen(answer)
    runs = [r for r in result.runs if r.in_race and (r.arm.train != "scratch" or pinned == "scratch")]
    usable = [r for r in runs if r.refit_fits or r.kept or pinned != "auto"]
    order = [usable[i] for i in ranked([_scored(r) for r in usable], answer.groups)] if usable else []
    tried = [r for r in result.runs if r.score is not None and (r in runs or r.arm.train != "scratch")]
    best = compared = None
    if order:
        best = order[0]
        compared = _against_frozen(answer, best, tried, seed)
        if pinned != "auto":
            # what was asked for needs no experience of others
            compared = replace(compared, p=compared.p_here, needed=P_TOP1)
        elif clear(compared):
            best, compared = _least(answer, (order, tried), compared, seed)
        else:
            best, compared = _expected(answer, (order, tried), compared, seed)
    chosen = best if best is not None and compared is not None and (pinned != "auto" or clear(compared)) else None
    guessing = _guesses(answer, frozen, seed)
    if chosen is not None and (guessing or pinned != "auto"):  # what beats a head that knows something does not guess
        guessing = _arms_guess(answer, chosen, tried, seed)
    by_loss = chosen is not None and compared is not None and compared.p < compared.needed and compared.p_nll >= P_NLL
    if guessing and pinned == "auto":
        chosen = None
    verdict = frozen if chosen is None or compared is None else _more(answer, chosen, tried, compared, (pinned, seed))
    if compared is not None:
        p, by = (compared.p_nll, "log-loss") if by_loss else (compared.p, "accuracy")
        verdict = replace(verdict, p_better=p, judged_by=by, gain=compared.gain, p_here=compared.p_here)
    verdict = replace(verdict, guessing=guessing)
    figures = (verdict.top1, verdict.low, verdict.high)
    told = sentence(answer, result, (chosen, best), compared, (figures, guessing, pinned))
    return replace(verdict, why=told)


def candidates_json(result: RaceResult, answer: FrozenAnswer, depths: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The arms as they stand in result.json's `candidates`; figures uncorrected, intervals 95 %."""
    return [_candidate(run, answer, depths) for run in result.runs]


def _candidate(run: ArmRun, answer: FrozenAnswer, depths: Sequence[str]) -> dict[str, Any]:
    score, arm = run.score, run.arm
    low = high = None
    if score is not None:
        groups = None if answer.groups is None else answer.groups[score.rows]
        low, high = accuracy_interval(score.correct[score.chosen], groups)
    return {
        "train": arm.train,
        "depths": list(depths),
        "backbone": arm.backbone or None,
        "extra_layers": list(arm.extra_layers),
        "learning_rate": arm.learning_rate,
        "fresh": arm.fresh,
        "epochs": None if score is None else score.version.epoch,
        "blend": None if score is None else score.version.blend,
        "n": 0 if score is None else len(score.rows),
        "top1": None if score is None else score.top1,
        "nll": None if score is None else score.nll,
        "low": low,
        "high": high,
        **_paired(score, answer),
        "seconds": run.seconds,
        "predicted_seconds": run.predicted_seconds,
        "refit_seconds": run.refit_seconds,
        "status": run.status,
        "why": run.why,
        "curve": [{"seconds": seconds, "top1": top1} for seconds, top1 in run.curve],
    }


def _paired(score: Score | None, answer: FrozenAnswer) -> dict[str, float | None]:
    """The new head on the same pictures, and the paired difference with its 95 % interval."""
    if score is None:
        return dict.fromkeys(("head_top1", "gain", "gain_low", "gain_high"))
    right, _ = frozen_on(answer, score.rows)
    correct = score.correct[score.chosen]
    gain = float(correct.mean() - right.mean())
    half = Z95 * paired_standard_error(correct, right, _groups(answer, score.rows))
    return {"head_top1": float(right.mean()), "gain": gain, "gain_low": gain - half, "gain_high": gain + half}


def _frozen(answer: FrozenAnswer) -> Verdict:
    """Answer A as a verdict."""
    rows = np.flatnonzero(answer.judged)
    right = answer.logits[rows].argmax(axis=1) == answer.labels[rows]
    top1 = float(right.mean()) if len(rows) else float("nan")
    groups = None if answer.groups is None else answer.groups[rows]
    low, high = accuracy_interval(right, groups) if len(rows) else (0.0, 1.0)
    figures = answer.figures or (top1, low, high)
    return Verdict(
        "head", None, None, 1.0, *figures, uncorrected_top1=top1, logits=answer.logits, judged=answer.judged,
        p_better=None, judged_by="accuracy", gain=None, guessing=False, why="",
    )  # fmt: skip


def _more(
    answer: FrozenAnswer, chosen: ArmRun, tried: Sequence[ArmRun], compared: Better, how: tuple[Amount, int]
) -> Verdict:
    """An arm as a verdict; its accuracy is that of choosing among all arms and, unless it was asked for, the old head.

    Where the old head judged more pictures than the arm did, the accuracy is for all of those (`at_large`).

    `how`: the amount that was asked for or "auto", and the seed.
    """
    pinned, seed = how
    score = _scored(chosen)
    family, at = _family(chosen, tried)
    frozen = _frozen_scores(answer, score.rows)
    pool = [*family, frozen] if pinned == "auto" else family  # what was asked for was not chosen over the frozen head
    corrected = better(pool, frozen, at, _groups(answer, score.rows), seed, _at_large(answer, score))
    logits = np.zeros_like(answer.logits)
    logits[score.rows] = score.logits
    judged = np.zeros(len(answer.labels), bool)
    judged[score.rows] = True
    return Verdict(
        chosen.arm.train, chosen.arm, score.version, score.temperatures[score.chosen],
        corrected.top1, corrected.low, corrected.high, uncorrected_top1=score.top1, logits=logits, judged=judged,
        p_better=compared.p, judged_by="accuracy", gain=compared.gain, guessing=False, why="", kept=chosen.kept,
    )  # fmt: skip


def _at_large(answer: FrozenAnswer, score: Score) -> AtLarge | None:
    """The old head on all its pictures, where the arm of `score` judged a part of them."""
    rows = np.flatnonzero(answer.judged)
    if len(rows) <= len(score.rows):
        return None
    right = answer.logits[rows].argmax(axis=1) == answer.labels[rows]
    return AtLarge(float(right.mean()), *accuracy_interval(right, _groups(answer, rows)))


def _against_frozen(answer: FrozenAnswer, best: ArmRun, tried: Sequence[ArmRun], seed: int) -> Better:
    """The choice of `best` among everything that was tried, against the frozen head on its rows."""
    rows = _scored(best).rows
    family, at = _family(best, tried)
    compared = better(family, _frozen_scores(answer, rows), at, _groups(answer, rows), seed)
    expected = answer.expected.get(best.arm.train) if len(rows) >= LEAST_JUDGED else None
    return informed(compared, expected, 1.0 - _frozen(answer).top1)


def _least(
    answer: FrozenAnswer, arms: tuple[Sequence[ArmRun], Sequence[ArmRun]], compared: Better, seed: int
) -> tuple[ArmRun, Better]:
    """The least training that beats the frozen head and is not itself beaten by the best arm."""
    order, tried = arms
    best = order[0]
    score = _scored(best)
    less = [r for r in _comparable(order, score) if amount_order(r.arm.train) < amount_order(best.arm.train)]
    for run in sorted(less, key=lambda r: amount_order(r.arm.train)):
        if run is not next(r for r in order if r.arm.train == run.arm.train):
            continue  # another rate of this amount did better
        own = [r for r in tried if amount_order(r.arm.train) <= amount_order(run.arm.train)]
        mine = _against_frozen(answer, run, own, seed)
        rival = _chosen_scores(run, score.rows)
        family, at = _family(best, [best])
        ahead = better(family, rival, at, _groups(answer, score.rows), seed)
        if clear(mine) and not clear(ahead):
            return run, mine
    return best, compared


def _expected(
    answer: FrozenAnswer, arms: tuple[Sequence[ArmRun], Sequence[ArmRun]], compared: Better, seed: int
) -> tuple[ArmRun, Better]:
    """The best arm of an amount that gained elsewhere, where it is clear with that; else the best arm of all."""
    order, tried = arms
    for run in order[1:]:
        if run.arm.train in answer.expected and clear(mine := _against_frozen(answer, run, tried, seed)):
            return run, mine
    return order[0], compared


def _family(best: ArmRun, tried: Sequence[ArmRun]) -> tuple[list[Scores], tuple[int, int]]:
    """Everything that `best` was chosen among, on its rows, and where it stands itself (arm, version).

    An arm that was stopped early stands with its own results where it has some and with those of `best` elsewhere: so
    the choice on the first folds is repeated on the rows of these folds, and what was never compared decides nothing.
    """
    score = _scored(best)
    stand_in = _chosen_scores(best, score.rows)
    family: list[Scores] = []
    at = 0
    for run in tried:
        own = _scored(run)
        common = np.intersect1d(score.rows, own.rows, assume_unique=True)
        if not len(common):
            continue
        if run is best:
            at = len(family)
        where = np.searchsorted(score.rows, common)
        correct = np.repeat(stand_in.correct, len(own.versions), axis=0)
        losses = np.repeat(stand_in.losses, len(own.versions), axis=0)
        correct[:, where], losses[:, where] = own.at(common)
        family.append(Scores(correct, losses))
    return family, (at, score.chosen)


def _chosen_scores(run: ArmRun, rows: IntArray) -> Scores:
    """The chosen version of a run on `rows`, all of which it judged."""
    score = _scored(run)
    correct, losses = score.at(rows)
    return Scores(correct[score.chosen][None], losses[score.chosen][None])


def _comparable(order: Sequence[ArmRun], score: Score) -> list[ArmRun]:
    """Runs that judged at least the rows of `score`."""
    return [r for r in order if np.isin(score.rows, _scored(r).rows).all()]


def _frozen_scores(answer: FrozenAnswer, rows: IntArray) -> Scores:
    right, losses = frozen_on(answer, rows)
    return Scores(right[None], losses[None])


def _guesses(answer: FrozenAnswer, verdict: Verdict, seed: int) -> bool:
    rows = np.flatnonzero(verdict.judged)
    if not len(rows):
        return False
    predicted = verdict.logits[rows].argmax(axis=1)
    return no_better_than_guessing(predicted, answer.labels[rows], _groups(answer, rows), seed) is not None


def _arms_guess(answer: FrozenAnswer, chosen: ArmRun, tried: Sequence[ArmRun], seed: int) -> bool:
    """The same for the best of many arms, which would be found among guesses too."""
    rows = _scored(chosen).rows
    labels = answer.labels[rows]
    majority = (labels == np.bincount(labels).argmax()).astype(np.float64)[None]
    family, at = _family(chosen, tried)
    compared = better(family, Scores(majority, np.zeros_like(majority)), at, _groups(answer, rows), seed)
    return compared.p < P_NOT_GUESSING


def _groups(answer: FrozenAnswer, rows: IntArray) -> IntArray | None:
    return None if answer.groups is None else answer.groups[rows]


def _scored(run: ArmRun) -> Score:
    assert run.score is not None  # noqa: S101  (an arm in the race has one)
    return run.score
