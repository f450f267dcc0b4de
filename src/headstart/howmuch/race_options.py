"""What a race is told besides its plan: where units are kept, whom to tell of them, what the runner can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headstart.howmuch.arm import Arm, FoldResult
from headstart.howmuch.ledger import Ledger


@dataclass(frozen=True)
class Step:
    """A finished unit, for showing progress: `top1` of the arm on all that it judged so far, None when it failed."""

    arm: Arm
    repeat: int
    fold: int
    top1: float | None
    left: float
    from_ledger: bool


@dataclass(frozen=True)
class RaceOptions:
    """`ledger` keeps units over a kill; `tell` is called after every unit.

    `ahead` is told which units are wanted next, in order of use; the runner does `at_once` of them together. `kept`:
    whether a network that a unit of an arm trained is at hand, to be saved as it is. `longer`: the only unit with one
    epoch more, or None where more would not pay.
    """

    ledger: Ledger | None = None
    tell: Callable[[Step], None] | None = None
    ahead: Callable[[list[tuple[Arm, int, int]]], None] | None = None
    at_once: int = 1
    kept: Callable[[Arm], bool] = lambda _: False
    longer: Callable[[Arm], FoldResult | None] = lambda _: None
