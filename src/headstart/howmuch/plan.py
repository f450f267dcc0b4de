"""The plan: which arms are worth trying, in which order and why, and what each would take. Orders, never vetoes.

The order comes from the cs231n quadrants (size x similarity): near and small: hardly anything; near and large: through;
far and small: the last stages; far and large: deep. Every amount is begun before another rate of the first ones; what
cannot be judged on enough folds in time comes after all that can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headstart.howmuch.affordable import (
    CANNOT_TIER,
    WILL,
    PlanFacts,
    PlannedArm,
    duration,
    planned_arm,
    tier_of,
    tiers_by,
)
from headstart.howmuch.arm import Amount, Arm, amount_order, in_words

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
        ordered.append(planned_arm(scratch, facts))
    return Plan(tuple(ordered), facts.folds, facts.repeats, facts.epochs, _why(first, facts), facts.pinned)


def named(arm: Arm) -> str:
    """An arm in a few words, such as "the last 2 stages (learning rate 0.001)"."""
    parts = [f"learning rate {arm.learning_rate:g}"] if arm.learning_rate is not None else []
    parts += ["a fresh head"] if arm.fresh else []
    parts += ["layers of " + ", ".join(str(w) for w in arm.extra_layers)] if arm.extra_layers else []
    parts += [arm.backbone] if arm.backbone else []
    return in_words(arm.train) + (f" ({', '.join(parts)})" if parts else "")


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
    by = tiers_by(facts)
    tiers = [(tier_of(arm, by), at) for at, arm in enumerate(arms)]
    return [planned_arm(arms[at], facts) for tier, at in sorted(tiers) if least <= tier <= most]


def _arms(amounts: Sequence[Amount], first: Amount | None, facts: PlanFacts) -> tuple[list[Arm], list[Arm]]:
    """Every amount with its likeliest rate; and the other rates, with a fresh head on far data between them."""
    rounds: list[list[Arm]] = [[], [], []]
    for train in amounts:
        widths = (facts.extra_layers or EXTRA_LAYERS) if train == "extra" else ()
        for turn, rate in enumerate(_by_likelihood(train, facts)):
            why = _reason(train, first, facts) if turn == 0 else "another learning rate of the same amount"
            rounds[turn].append(Arm(train, rate, extra_layers=widths, why=why))
    fresh, by = [], tiers_by(facts)
    deep = [a for a in amounts if a != "extra"]
    if facts.similarity == "far" and deep:
        train = next((a for a in deep if tier_of(Arm(a), by) == 0), deep[0])
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
