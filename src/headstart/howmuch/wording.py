"""The sentence for the user: what was trained, how good it is, and what more training would have given."""

from __future__ import annotations

import numpy as np

from headstart.howmuch.affordable import duration
from headstart.howmuch.arm import FrozenAnswer
from headstart.howmuch.better import Better
from headstart.howmuch.lane import ArmRun, RaceResult
from headstart.howmuch.plan import named
from headstart.howmuch.score import Score, frozen_on

Told = tuple[tuple[float, float, float], bool, str]


def sentence(
    answer: FrozenAnswer,
    result: RaceResult,
    arms: tuple[ArmRun | None, ArmRun | None],
    compared: Better | None,
    told: Told,
) -> str:
    """`arms`: the one chosen (None: only a new head) and the best; `told`: accuracy with interval, guessing, pinned."""
    figures, guessing, pinned = told
    chosen, best = arms
    if guessing:
        reached = "" if np.isnan(figures[0]) else f" ({100 * figures[0]:.1f} %)"
        return f"No better than guessing{reached}: whether more training would help cannot be judged."
    if chosen is None or compared is None:
        head = "Train only a new head" + (f", {answer.what}" if answer.what else "")
        return f"{head}{_figures(figures)}. {_not_more(answer, result, best, pinned)}".rstrip()
    gain = 100 * (compared.gain if pinned == "auto" or chosen.score is None else _plain_gain(answer, chosen.score))
    version = chosen.score.version if chosen.score else None
    epochs = "" if version is None else f", {version.epoch} epochs" + (", half-way back" if version.blend else "")
    first = f"Train {named(chosen.arm)}{epochs}{_figures(figures)}"
    more = f", {abs(gain):.1f} points {'more' if gain >= 0 else 'less'} than only a new head"
    if compared.p < compared.needed <= compared.p_nll and pinned == "auto":
        more += f"; surely better in log-loss ({_p(compared.p_nll)}), probably in accuracy ({_p(compared.p)})"
    elif gain < 0 and _alone(compared) and chosen.score is not None:
        few = f"{len(chosen.score.rows)} pictures are too few to tell"
        more += f" here, but {few}, and it gained on other pictures of the kind ({_p(compared.p)}{_alone(compared)})"
    else:
        more += f" ({_p(compared.p)}{_alone(compared)})"
    return f"{first}{more}. {_kept(answer, chosen)}{_others(result, chosen)}".rstrip()


def _plain_gain(answer: FrozenAnswer, score: Score) -> float:
    """What an amount that was asked for gained on its rows: only its rate was chosen, so nothing is taken off."""
    right, _ = frozen_on(answer, score.rows)
    return float(score.top1 - right.mean())


def _not_more(answer: FrozenAnswer, result: RaceResult, best: ArmRun | None, pinned: str) -> str:
    """What more training gave, or why none was tried."""
    if best is None or best.score is None:
        return _untried(result, pinned)
    score = best.score
    right, _ = frozen_on(answer, score.rows)
    ahead, partly = score.top1 > right.mean(), len(score.rows) < int(answer.judged.sum())
    text = f"{_capital(named(best.arm))}: {100 * score.top1:.1f} %"
    if partly:
        text += f" on {len(score.rows)} pictures (the new head there: {100 * right.mean():.1f} %)"
    text += ", not better beyond noise" if ahead else ", not better"
    if answer.seconds > 0:
        times = (answer.seconds + best.refit_seconds) / answer.seconds
        text += f", {times:.0f}x the time" if times >= 1.5 else ""
    if result.interrupted:
        return text + " (interrupted)."
    return text + (". A longer budget judges it on more." if ahead and partly and _time_ended(result) else ".")


def _untried(result: RaceResult, pinned: str) -> str:
    dropped = [r for r in result.runs if r.units and r.arm.train != "scratch"]
    if dropped:
        late = [r for r in dropped if r.in_race and not r.refit_fits]
        if late:
            seconds = duration(late[0].refit_seconds)
            return f"{_capital(named(late[0].arm))} was tried, but its final training ({seconds}) does not fit."
        return f"More training was tried and fell behind: {named(dropped[0].arm)} {dropped[0].why}."
    if not result.runs:
        return ""
    failed = [r for r in result.runs if r.status == "stopped"]
    if failed:
        return f"More training could not be judged: {named(failed[0].arm)} was {failed[0].why}."
    if not _time_ended(result):
        return f"Nothing more was tried: {result.ended}."
    cheapest = min(result.runs, key=lambda r: r.predicted_seconds + r.refit_seconds)
    needs = duration(cheapest.predicted_seconds + cheapest.refit_seconds)
    asked = "what was asked for" if pinned != "auto" else "the cheapest that would have been tried"
    return f"The budget is too small for more: {named(cheapest.arm)}, {asked}, takes {needs} for one fold and the end."


def _time_ended(result: RaceResult) -> bool:
    return result.ended.startswith("what is left of the budget")


def _kept(answer: FrozenAnswer, chosen: ArmRun) -> str:
    """That there was no time to train on everything."""
    if not chosen.kept:
        return ""
    return f"Trained on all but one fold of the {len(answer.labels)} pictures; a longer budget trains on all. "


def _others(result: RaceResult, chosen: ArmRun) -> str:
    """The best arm that trains another amount, for comparison."""
    others = [r for r in result.runs if r.in_race and r.score is not None and r.arm.train != chosen.arm.train]
    if not others or chosen.score is None:
        return ""
    other = max(
        others, key=lambda r: (0.0 if r.score is None else len(r.score.rows), 0.0 if r.score is None else r.score.top1)
    )
    top1 = 0.0 if other.score is None else other.score.top1
    tail = ", not better beyond noise" if top1 > chosen.score.top1 else ""
    return f"{_capital(named(other.arm))}: {100 * top1:.1f} %{tail}."


def _figures(figures: tuple[float, float, float]) -> str:
    top1, low, high = figures
    return "" if np.isnan(top1) else f": {100 * top1:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _p(p: float) -> str:
    return "probability that it is better: " + ("over 0.99" if p > 0.99 else f"{p:.2f}")


def _alone(compared: Better) -> str:
    """What these pictures say by themselves, where experience with others was counted in."""
    return "" if compared.p == compared.p_here else f", from these pictures alone {compared.p_here:.2f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
