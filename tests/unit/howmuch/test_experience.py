"""What was gained elsewhere counts like held-out pictures: it tips a balance, it never outweighs evidence."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest

from headstart.howmuch.better import Better, chance
from headstart.howmuch.experience import informed

HERE = Better(0.02, 0.02, 0.02, 0.0, 0.1, chance(0.02, 0.02), 0.5, 0.9, 0.8, 1.0, chance(0.02, 0.02))


def compared(gain, error):
    return replace(HERE, gain=gain, error=error, p=chance(gain, error), p_here=chance(gain, error))


def test_nothing_known_changes_nothing():
    assert informed(HERE, None, 0.1) is HERE
    assert informed(HERE, (0.3, 0.25), 0.0) is HERE, "no errors, nothing to gain"


def test_it_is_a_mean_weighted_by_what_is_known():
    told = informed(HERE, (0.3, 0.2), 0.1)  # 3 points with a deviation of 2, beside 2 points with an error of 2
    assert told.p == pytest.approx(chance(0.025, 0.02 / sqrt(2)))
    assert (told.gain, told.p_here) == (HERE.gain, HERE.p), "what these pictures say stays readable"


def test_many_pictures_outweigh_it_and_few_do_not():
    behind_on_many, behind_on_few = compared(-0.02, 0.005), compared(-0.02, 0.05)
    assert informed(behind_on_many, (0.3, 0.25), 0.1).p < 0.05
    assert informed(behind_on_few, (0.3, 0.25), 0.1).p > 0.7 > behind_on_few.p
    assert informed(compared(0.02, 0.005), (0.0, 0.3), 0.1).p > 0.99


def test_where_little_is_wrong_little_is_expected():
    few, many = (informed(compared(-0.02, 0.02), (0.3, 0.25), errors) for errors in (0.01, 0.1))
    assert chance(0.3, 0.25) > few.p > many.p > 0.16, "a few mistakes can hardly be told from none"
