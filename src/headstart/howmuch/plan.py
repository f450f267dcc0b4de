"""The plan: which arms are worth trying, in which order and why, and what each would take. Orders, never vetoes.

The order comes from the cs231n quadrants (size x similarity): near and small: hardly anything; near and large: through;
far and small: the last stages; far and large: deep. Every amount is begun before another rate of the first ones; what
cannot be judged on enough folds in time comes after all that can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

from headstart.howmuch.allowance import Cost
from headstart.howmuch.arm import Amount, Arm, amount_order, in_words
from headstart.howmuch.experience import LEAST_JUDGED

WILL = "will be tried"
CANNOT = "not affordable"

# Relative learning rates (`finetune.schedule.Recipe`), small ones first
RATES: Mapping[str, tuple[float | None, ...]] = {
    "extra": (None,),
    "norms": (3e-3, 1e-2),
    "last": (3e-3, 1e-2, 2e-2),
    "all": (3e-3, 1e-2),
    "scratch": (1e-2,),
}
EXTRA_LAYERS = (512,)
# Where to start: row = similarity, column = size. Everything else follows by its distance from here.
SIZES = ("tiny", "small", "medium", "large")
FIRST: Mapping[str, tuple[Amount, ...]] = {
    "near": ("norms", "last-1", "last-2", "all"),
    "middle": ("last-1", "last-2", "last-3", "all"),
    "far": ("last-3", "last-3", "last-3", "all"),
}
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


@dataclass(frozen=True)
class Plan:
    """Arms in the order in which they start, and why this order. `pinned` as in the facts."""

    arms: tuple[PlannedArm, ...]
    folds: int
    repeats: int
    epochs: int
    why: str
    pinned: Amount = "auto"

    def to_json(self) -> dict[str, Any]:
        """Plain values: what `headstart plan --json` prints."""
        arms = [
            {
                "train": p.arm.train,
                "learning_rate": p.arm.learning_rate,
                "fresh": p.arm.fresh,
                "extra_layers": list(p.arm.extra_layers),
                "backbone": p.arm.backbone,
                "status": p.status,
                "why": p.why,
                "fold": asdict(p.unit),
                "once": asdict(p.once),
                "all_folds": asdict(p.unit * self.folds + p.once),
                "refit": asdict(p.refit),
            }
            for p in self.arms
        ]
        return {
            "why": self.why,
            "pinned": None if self.pinned == "auto" else self.pinned,
            "folds": self.folds,
            "repeats": self.repeats,
            "epochs": self.epochs,
            "arms": arms,
        }

    def lines(self) -> list[str]:
        """What `headstart plan` prints: one line per arm."""
        found = [self.why]
        for at, p in enumerate(self.arms, 1):
            every = duration((p.unit * self.folds + p.once).seconds)
            what = f"{at}. {named(p.arm)}: {every} to judge, {duration(p.refit.seconds)} to train in the end"
            found.append(f"{what}; {p.why}" if p.status == WILL else f"{what}; {p.status}: {p.why}")
        return found


def plan(facts: PlanFacts) -> Plan:
    """Arms by quadrant, each with its cost and a reason; what does not fit stays in the list as "not affordable"."""
    if facts.pinned == "head":
        return Plan((), facts.folds, facts.repeats, facts.epochs, "only a new head was asked for", "head")
    amounts = [a for a in facts.costs if a not in ("scratch", "head") and _worth(a, facts)]
    if facts.pinned != "auto":
        amounts = [a for a in amounts if a == facts.pinned]
    first = _first(amounts, facts)
    first_rates, other_rates = _arms(_by_distance(amounts, first), first, facts)
    ordered = _by_tier(first_rates, facts, 0, 1) + _by_tier(other_rates, facts, 0, 1)
    ordered += _by_tier(first_rates + other_rates, facts, 2, CANNOT_TIER)
    if "scratch" in facts.costs and facts.pinned in ("auto", "scratch"):
        scratch = Arm("scratch", RATES["scratch"][0], why="a reference: what the head start bought")
        ordered.append(_planned(scratch, facts))
    return Plan(tuple(ordered), facts.folds, facts.repeats, facts.epochs, _why(first, facts), facts.pinned)


def epochs_in_time(facts: PlanFacts, least: int) -> int:
    """As many epochs, from `least` to those of the facts, as let the last stages be compared in the time that is left.

    Compared: the first fold of every number of stages, and for the dearest of them what it takes to be chosen. Where
    some are promising: the dearest of these that fits at all with the epochs it needs, and with no fewer epochs. Rate
    and averaging are constant (`finetune.schedule`), so fewer epochs are the beginning of more, not another recipe.
    """
    enough = fewest_folds(facts.n, facts.folds)
    pinned = [facts.pinned] if facts.pinned not in ("extra", "scratch") else []
    stages = pinned if facts.pinned != "auto" else [a for a in facts.costs if a.startswith("last-")]
    if facts.pinned == "auto" and facts.promising:
        shortest = replace(facts, epochs=max(least, facts.gains_after))
        fits = [a for a in stages if a in facts.promising and _tier(_planned(Arm(a), shortest), shortest) == 0]
        if fits:
            stages, least = [max(fits, key=lambda a: facts.costs[a].train_seconds)], shortest.epochs
            enough = fewest_folds(facts.n, facts.folds, likely=True)
    for epochs in range(facts.epochs, least, -1):
        planned = [_planned(Arm(a), replace(facts, epochs=epochs)) for a in stages if a in facts.costs]
        dearest = max(planned, key=lambda p: p.unit.seconds, default=None)
        others = sum(p.unit.seconds for p in planned if p is not dearest)
        if dearest is None or _to_be_chosen(dearest, facts, enough) + others <= COMFORTABLE * facts.left:
            return epochs
    return min(least, facts.epochs)


def fewest_folds(n: int, folds: int, likely: bool = False) -> int:
    """Folds on which an arm has to be judged before it can be expected to be told from the frozen head.

    `likely`: of an amount that gained on other pictures of the kind, which only has to be seen not to lose on these.
    """
    if likely:
        return min(folds, ceil(LEAST_JUDGED * folds / n))
    return 1 if n / folds >= ENOUGH else min(FEWEST, folds)


def named(arm: Arm) -> str:
    """An arm in a few words, such as "the last 2 stages (learning rate 0.001)"."""
    parts = [f"learning rate {arm.learning_rate:g}"] if arm.learning_rate is not None else []
    parts += ["a fresh head"] if arm.fresh else []
    parts += ["layers of " + ", ".join(str(w) for w in arm.extra_layers)] if arm.extra_layers else []
    parts += [arm.backbone] if arm.backbone else []
    return in_words(arm.train) + (f" ({', '.join(parts)})" if parts else "")


def duration(seconds: float) -> str:
    """12.3 -> "12 s", 200 -> "3 min 20 s", 7300 -> "2 h 2 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _worth(train: Amount, facts: PlanFacts) -> bool:
    """Extra layers need pictures to learn from; they are raced where there are some, or where they were asked for."""
    asked = bool(facts.extra_layers) or facts.pinned == "extra"
    return train != "extra" or asked or facts.size in ("medium", "large")


def _first(amounts: Sequence[Amount], facts: PlanFacts) -> Amount | None:
    """The amount to start from: the quadrant's own, or the available one nearest to it."""
    if not amounts:
        return None
    wanted = amount_order(FIRST[facts.similarity or "middle"][SIZES.index(facts.size)])
    return min(amounts, key=lambda a: (abs(amount_order(a) - wanted), amount_order(a)))


def _by_distance(amounts: Sequence[Amount], first: Amount | None) -> list[Amount]:
    """From `first` outwards, less training before more."""
    rising = sorted(amounts, key=amount_order)
    if first is None:
        return []
    at = rising.index(first)
    return sorted(rising, key=lambda a: (abs(rising.index(a) - at), amount_order(a)))


def _by_tier(arms: Sequence[Arm], facts: PlanFacts, least: int, most: int) -> list[PlannedArm]:
    """Those of the tiers from `least` to `most`, the lower tiers first, else in their order."""
    planned = [_planned(arm, facts) for arm in arms]
    tiers = [(_tier(p, facts), at) for at, p in enumerate(planned)]
    return [planned[at] for tier, at in sorted(tiers) if least <= tier <= most]


def _arms(amounts: Sequence[Amount], first: Amount | None, facts: PlanFacts) -> tuple[list[Arm], list[Arm]]:
    """Every amount with its likeliest rate; and the other rates, with a fresh head on far data between them."""
    rounds: list[list[Arm]] = [[], [], []]
    for train in amounts:
        widths = (facts.extra_layers or EXTRA_LAYERS) if train == "extra" else ()
        for turn, rate in enumerate(_by_likelihood(train, facts)):
            why = _reason(train, first, facts) if turn == 0 else "another learning rate of the same amount"
            rounds[turn].append(Arm(train, rate, extra_layers=widths, why=why))
    fresh = []
    deep = [a for a in amounts if a != "extra"]
    if facts.similarity == "far" and deep:
        train = next((a for a in deep if _tier(_planned(Arm(a), facts), facts) == 0), deep[0])
        rate = max(r for r in _rates(train) if r is not None)
        why = "far from the source a head that starts small can lead the network further"
        fresh = [Arm(train, rate, fresh=True, extra_layers=facts.extra_layers, why=why)]
    return rounds[0], rounds[1] + fresh + rounds[2]


def _rates(train: Amount) -> tuple[float | None, ...]:
    return RATES["last" if train.startswith("last-") else train]


def _by_likelihood(train: Amount, facts: PlanFacts) -> list[float | None]:
    """Small rates first near the source (Li et al. 2020); else from the middle out, far from it larger ones first."""
    rates = list(_rates(train))
    if facts.similarity == "near":
        return rates
    far = facts.similarity == "far"
    middle = (len(rates) - 1 + far) // 2
    return sorted(rates, key=lambda r: (abs(rates.index(r) - middle), rates.index(r) * (-1 if far else 1)))


def _reason(train: Amount, first: Amount | None, facts: PlanFacts) -> str:
    if facts.pinned != "auto":
        return "asked for"
    if train == first:
        return f"where to start with {facts.size} data {_far(facts)}"
    less = first is not None and amount_order(train) < amount_order(first)
    return f"{'less' if less else 'more'} training than where the quadrant starts"


def _why(first: Amount | None, facts: PlanFacts) -> str:
    if facts.pinned != "auto":
        return f"only {in_words(facts.pinned)} was asked for; its learning rates are compared"
    if first is None:
        return "nothing but a new head can be trained here"
    return (
        f"{facts.images_per_class:g} pictures per class ({facts.size}), {_far(facts)}: "
        f"start with {in_words(first)} or what the time allows, then less and more training"
    )


def _far(facts: PlanFacts) -> str:
    words = {"near": "near the source", "middle": "not far from the source", "far": "far from the source"}
    return words[facts.similarity] if facts.similarity else "at an unknown distance from the source"


def _planned(arm: Arm, facts: PlanFacts) -> PlannedArm:
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
