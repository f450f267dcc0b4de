"""A runner with several workers is told what is wanted next; nothing else about the race changes."""

from __future__ import annotations

import pytest

from headstart.howmuch.allowance import Allowance
from headstart.howmuch.lane import RaceResult
from headstart.howmuch.ledger import Ledger
from headstart.howmuch.race import race
from headstart.howmuch.race_options import RaceOptions
from race_world import World

AMOUNTS = ("last-1", "last-2", "all")


def world() -> World:
    return World(gains={"last-2": 0.05, "all": -0.2}, repeats=2)


def outcome(result: RaceResult) -> list[object]:
    return [(run.arm.key, run.units, run.status, run.why) for run in result.runs]


@pytest.mark.parametrize("at_once", [1, 4])
def test_steps_decide_the_same_and_every_unit_was_announced(at_once):
    alone, together = world(), world()
    first = race(alone.plan(AMOUNTS), alone.run, alone.answer(), alone.folds, Allowance(1500))
    announced: list[tuple[str, int, int]] = []

    def ahead(units):
        announced.extend((arm.key, repeat, fold) for arm, repeat, fold in units)

    options = RaceOptions(ahead=ahead, at_once=at_once)
    second = race(together.plan(AMOUNTS), together.run, together.answer(), together.folds, Allowance(1500), options)
    assert outcome(first) == outcome(second) and alone.log == together.log
    assert len(together.log) > 8 and set(together.log) <= set(announced)
    assert [unit for unit in dict.fromkeys(announced) if unit in together.log] == together.log


def test_what_the_ledger_keeps_is_not_announced(tmp_path):
    here = world()
    ledger = Ledger(tmp_path, "x")
    race(here.plan(AMOUNTS), here.run, here.answer(), here.folds, Allowance(1500), RaceOptions(ledger))
    announced: list[object] = []
    again = RaceOptions(ledger, ahead=announced.extend, at_once=2)
    race(here.plan(AMOUNTS), here.run, here.answer(), here.folds, Allowance(1500), again)
    assert announced == []


def test_more_workers_get_through_more_within_the_same_seconds():
    """Four units at a time in a simulated clock: what is announced runs together, in the time of the longest."""

    def run(at_once: int) -> tuple[int, float]:
        here = world()
        clock = [0.0]
        ready: dict[tuple[str, int, int], float] = {}

        def ahead(units):
            for number, (arm, repeat, fold) in enumerate(units):
                ready.setdefault((arm.key, repeat, fold), clock[0] + 1.0 + number // at_once)

        def runner(arm, repeat, fold):
            clock[0] = max(clock[0], ready.pop((arm.key, repeat, fold), clock[0] + 1.0))
            return here.run(arm, repeat, fold)

        options = RaceOptions(ahead=ahead if at_once > 1 else None, at_once=at_once)
        race(here.plan(AMOUNTS), runner, here.answer(), here.folds, Allowance(9.0, now=lambda: clock[0]), options)
        return len(here.log), clock[0]

    (one, _), (four, seconds) = run(1), run(4)
    assert four >= 2 * one and seconds <= 9.0
