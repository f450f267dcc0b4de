"""Affordable: what an arm would take, whether the time lets it be chosen, and how many epochs that leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from headstart.howmuch.allowance import Cost
from headstart.howmuch.arm import Amount, Arm
from headstart.howmuch.experience import LEAST_JUDGED

WILL = "will be tried"
CANNOT = "not affordable"
CANNOT_TIER = 3
COMFORTABLE = 0.75  # share of the time left that two folds of an arm and its final training may take
FEWEST = 2  # folds: with fewer there is seldom enough evidence to prefer an arm to the frozen head
ENOUGH = 500  # pictures of one fold on which an arm can be told from the frozen head


@dataclass(frozen=True)
class AmountCost:
    """Measured on one batch: seconds to train on one picture once and to judge one; per unit; once per amount."""

    train_seconds: float
    judge_seconds: float
    setup_seconds: float = 0.0
    once_seconds: float = 0.0  # filling the cut cache


@dataclass(frozen=True)
class PlanFacts:
    """What a plan is made from. `size` and `similarity` (None: not known) are places.

    `costs` names the amounts that can be trained. `left`: what may be spent before the finish, seconds or (`in_steps`)
    optimizer steps. `pinned`: the amount the user asked for or "auto". `extra_layers`: widths the user asked for. One
    unit trains `epochs` on `folds` - 1 folds. `promising`: amounts that gained on other pictures of the kind
    (`rules.gain_elsewhere`) after `gains_after` epochs: few held-out pictures that do not contradict are enough to
    choose them, and (`keeps`) what a fold trained can be saved where there is no time to train on everything.
    """

    n: int
    n_classes: int
    images_per_class: float
    size: str
    similarity: str | None
    costs: Mapping[Amount, AmountCost]
    left: float
    epochs: int = 8
    folds: int = 5
    repeats: int = 1
    batch: int = 32
    pinned: Amount = "auto"
    extra_layers: tuple[int, ...] = ()
    in_steps: bool = False
    promising: tuple[Amount, ...] = ()
    gains_after: int = 1
    keeps: bool = False

    @property
    def likely(self) -> tuple[Amount, ...]:
        """What is promising with so many epochs."""
        return self.promising if self.epochs >= self.gains_after else ()


@dataclass(frozen=True)
class PlannedArm:
    """An arm with the predicted cost of one fold (`unit`), what its amount needs `once`, and the final `refit`.

    `promising`: its amount gained on other pictures of the kind, from `first_epoch` on; `keeps`: as in the facts.
    """

    arm: Arm
    unit: Cost
    once: Cost
    refit: Cost
    why: str
    status: str
    promising: bool = False
    keeps: bool = False
    first_epoch: int = 1


def epochs_in_time(facts: PlanFacts, least: int) -> int:
    """As many epochs, from `least` to those of the facts, as let the last stages be compared in the time that is left.

    Compared: the first fold of every number of stages, and for the dearest what it takes to be chosen. Where some are
    promising: the dearest of these that fits at all with the epochs it needs, and no fewer; its final training comes
    before more epochs (`rules.keeps_folds`). Fewer epochs are the beginning of more (`finetune.schedule`).
    """
    enough = fewest_folds(facts.n, facts.folds)
    pinned = [facts.pinned] if facts.pinned not in ("extra", "scratch") else []
    stages = pinned if facts.pinned != "auto" else [a for a in facts.costs if a.startswith("last-")]
    if facts.pinned == "auto" and facts.promising:
        shortest = replace(facts, epochs=max(least, facts.gains_after))
        fits = [a for a in stages if a in facts.promising and tier_of(Arm(a), shortest) == 0]
        if fits:
            stages, least = [max(fits, key=lambda a: facts.costs[a].train_seconds)], shortest.epochs
            enough = fewest_folds(facts.n, facts.folds, likely=True)
    for asked in (without_keeping(facts), facts):
        for epochs in range(facts.epochs, least - 1, -1):
            planned = [planned_arm(Arm(a), replace(asked, epochs=epochs)) for a in stages if a in facts.costs]
            dearest = max(planned, key=lambda p: p.unit.seconds, default=None)
            others = sum(p.unit.seconds for p in planned if p is not dearest)
            if dearest is None or _to_be_chosen(dearest, asked, enough) + others <= COMFORTABLE * facts.left:
                return epochs
    return min(least, facts.epochs)


def fewest_folds(n: int, folds: int, likely: bool = False) -> int:
    """Folds by which an arm can be told from the frozen head or, if `likely` to gain, can be seen not to lose."""
    if likely:
        return min(folds, ceil(LEAST_JUDGED * folds / n))
    return 1 if n / folds >= ENOUGH else min(FEWEST, folds)


def without_keeping(facts: PlanFacts) -> PlanFacts:
    """The facts where everything that is chosen is trained on all pictures."""
    return replace(facts, keeps=False)


def tiers_by(facts: PlanFacts) -> PlanFacts:
    """The facts by which tiers are counted: without keeping where one of the promising can be trained on all pictures.

    Else a dearer one of which only a fold can be trained would come first, and be the only one. So it was with
    everything at two minutes on 600 solar cells (by hand, `benchmarks/deciding.py --only choice`).
    """
    whole = without_keeping(facts)
    fits = any(tier_of(Arm(a), whole) == 0 for a in facts.likely if a in facts.costs)
    return whole if fits else facts


def planned_arm(arm: Arm, facts: PlanFacts) -> PlannedArm:
    """`arm` with what it would take, and whether one fold of it can be afforded."""
    cost = facts.costs[arm.train]
    held = facts.n / facts.folds
    train = facts.n - held
    judged = held * (facts.epochs + 1) * cost.judge_seconds  # every epoch, and the blend
    unit = Cost(cost.setup_seconds + facts.epochs * train * cost.train_seconds + judged, _steps(train, facts))
    refit = Cost(cost.setup_seconds + facts.epochs * facts.n * cost.train_seconds, _steps(facts.n, facts))
    likely = arm.train in facts.likely
    once, keeps, first = Cost(cost.once_seconds, 0), likely and facts.keeps, facts.gains_after if likely else 1
    planned = PlannedArm(arm, unit, once, refit, arm.why, WILL, likely, keeps, first)
    if _tier(planned, facts) < CANNOT_TIER:
        return planned
    takes = "one fold takes" if keeps else "one fold and the final training take"
    why = f"{takes} {duration((unit + once).seconds + (0.0 if keeps else refit.seconds))}"
    return replace(planned, why=why, status=CANNOT)


def _steps(pictures: float, facts: PlanFacts) -> int:
    return facts.epochs * max(1, ceil(pictures / facts.batch - 1e-9))


def tier_of(arm: Arm, facts: PlanFacts) -> int:
    """The tier of `arm` (`_tier`), from 0, comfortable, to `CANNOT_TIER`."""
    return _tier(planned_arm(arm, facts), facts)


def _tier(planned: PlannedArm, facts: PlanFacts) -> int:
    """0: the fewest folds and the final training fit into three quarters of the time; 1: into all; 2: one; 3: none."""
    enough = _to_be_chosen(planned, facts, _enough(planned.arm.train, facts))
    if enough <= facts.left:
        return 0 if enough <= COMFORTABLE * facts.left else 1
    return 2 if _to_be_chosen(planned, facts, 1) <= facts.left else CANNOT_TIER


def _enough(train: Amount, facts: PlanFacts) -> int:
    """Folds that can tell an amount from the frozen head."""
    return fewest_folds(facts.n, facts.folds, train in facts.likely)


def _to_be_chosen(planned: PlannedArm, facts: PlanFacts, folds: int) -> float:
    """Seconds or steps for so many folds and, unless what these train can be saved as it is, the final training."""
    cost = planned.unit * folds + planned.once + (Cost(0.0, 0) if planned.keeps else planned.refit)
    return float(cost.steps) if facts.in_steps else cost.seconds


def duration(seconds: float) -> str:
    """12.3 -> "12 s", 200 -> "3 min 20 s", 7300 -> "2 h 2 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"
