"""What may still be spent: wall seconds with the finish reserved inside, or optimizer steps where runs must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FLOOR, CEILING = 0.2, 20.0  # of a correction: one odd unit (a busy machine) must not stop everything


@dataclass(frozen=True)
class Cost:
    """What something is predicted to take: wall `seconds` and optimizer `steps`."""

    seconds: float
    steps: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.steps + other.steps)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.seconds * times, self.steps * times)


class Allowance:
    """A budget and what was spent of it. Amounts below are seconds of wall clock or, without a clock, steps.

    `total`: the whole budget, counted from where `now` counts (the start of the process: `Clock`). `reserve`: what the
    finish takes, kept inside. Without `now` only what is passed to `spend` counts, so two runs of one seed agree.

    Predictions are corrected by what units really took: the ratio of all finished units of one kind (amount of
    training), of all kinds where that kind has none yet.
    """

    def __init__(self, total: float, reserve: float = 0.0, now: Callable[[], float] | None = None) -> None:
        self._total, self._reserve, self._now = total, reserve, now
        self._spent = 0.0
        self._predicted: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._errors: list[float] = []

    @property
    def in_steps(self) -> bool:
        """Whether optimizer steps are counted instead of seconds."""
        return self._now is None

    def left(self) -> float:
        """What may still be spent before the finish; negative when it is late."""
        return self._total - self._reserve - (self._spent if self._now is None else self._now())

    def cost(self, kind: str, predicted: Cost) -> float:
        """`predicted` as an amount of this allowance, corrected by what was measured so far."""
        return self._raw(predicted) * self._ratio(kind)

    def seconds(self, kind: str, predicted: Cost) -> float:
        """`predicted` in seconds, corrected where seconds are what is counted."""
        return predicted.seconds * (1.0 if self.in_steps else self._ratio(kind))

    def fits(self, amount: float, slack: float = 0.0) -> bool:
        """Whether something of this (corrected) cost would still finish in time, or `slack` of the budget late."""
        return amount <= self.left() + slack * self._total

    def spend(self, kind: str, predicted: Cost, seconds: float, steps: int) -> None:
        """Note a finished unit. Units read back from a killed run count too: their steps are part of the budget."""
        amount = float(steps) if self.in_steps else seconds
        self._spent += amount
        expected = self._raw(predicted)
        if expected > 0 and amount > 0:
            self._errors.append(amount / self.cost(kind, predicted) - 1.0)
            self._predicted[kind] = self._predicted.get(kind, 0.0) + expected
            self._measured[kind] = self._measured.get(kind, 0.0) + amount

    def error(self) -> float | None:
        """Mean of |measured / predicted - 1| over finished units, each as corrected at its start; None before one."""
        return sum(abs(e) for e in self._errors) / len(self._errors) if self._errors else None

    def _raw(self, predicted: Cost) -> float:
        return float(predicted.steps) if self.in_steps else predicted.seconds

    def _ratio(self, kind: str) -> float:
        predicted, measured = self._predicted.get(kind, 0.0), self._measured.get(kind, 0.0)
        if predicted <= 0:
            predicted, measured = sum(self._predicted.values()), sum(self._measured.values())
        return min(max(measured / predicted, FLOOR), CEILING) if predicted > 0 else 1.0
