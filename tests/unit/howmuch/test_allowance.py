from __future__ import annotations

import pytest

from headstart.howmuch.allowance import Allowance, Cost

UNIT = Cost(10.0, 100)


def test_on_a_wall_clock_time_passes_by_itself_and_the_finish_is_kept():
    now = [5.0]
    allowance = Allowance(60, 10, lambda: now[0])
    assert allowance.left() == 45
    assert allowance.fits(45) and not allowance.fits(45.1)
    assert allowance.fits(50, slack=0.1)
    now[0] = 58
    assert allowance.left() < 0 and not allowance.fits(0.1)


def test_in_steps_only_what_is_spent_counts():
    allowance = Allowance(250)
    assert allowance.in_steps and allowance.cost("all", UNIT) == 100
    allowance.spend("all", UNIT, 1e9, 100)
    assert allowance.left() == 150
    assert allowance.seconds("all", UNIT) == 10


def test_predictions_follow_what_was_measured_kind_by_kind():
    allowance = Allowance(1000, now=lambda: 0.0)
    assert allowance.error() is None
    allowance.spend("all", UNIT, 20.0, 0)
    assert allowance.cost("all", UNIT) == 20
    assert allowance.cost("last-1", UNIT) == 20  # nothing better is known
    allowance.spend("last-1", UNIT, 5.0, 0)
    assert allowance.cost("last-1", UNIT) == 5 and allowance.cost("all", UNIT) == 20
    assert allowance.error() == pytest.approx((1.0 + 0.75) / 2)


def test_failed_and_free_units_correct_nothing():
    allowance = Allowance(1000, now=lambda: 0.0)
    allowance.spend("all", UNIT, 0.0, 0)
    assert allowance.cost("all", UNIT) == 10 and allowance.error() is None
