"""What judged a part of the pictures gets a figure for all: nearer to the truth, with an interval that holds."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.intervals import accuracy_interval
from headstart.howmuch.at_large import AtLarge, moved, slope
from headstart.howmuch.better import Scores, better

HEAD, ARM = 0.85, 0.895  # the arm is right about 98 % of what the head is, and about the rest so often that it is 0.895


def world(n, rng):
    """Which of `n` pictures the head is right about, and the arm."""
    head = rng.random(n) < HEAD
    arm = rng.random(n) < np.where(head, 0.98, (ARM - 0.98 * HEAD) / (1 - HEAD))
    return head.astype(float), arm.astype(float)


def scores(right):
    return Scores(right[None], 1.0 - right[None])


def test_a_figure_for_all_pictures_is_nearer_and_its_interval_holds():
    errors, held, widths = [], [], []
    for seed in range(100):
        head, arm = world(200, np.random.default_rng(seed))
        on, whole = slice(0, 40), AtLarge(float(head.mean()), *accuracy_interval(head))
        part = better([scores(arm[on])], scores(head[on]), (0, 0), seed=seed)
        found = better([scores(arm[on])], scores(head[on]), (0, 0), seed=seed, whole=whole)
        assert (found.gain, found.p, found.error) == (part.gain, part.p, part.error), "the comparison is what it was"
        errors.append((part.top1 - ARM, found.top1 - ARM))
        held.append(found.low <= ARM <= found.high)
        widths.append((part.high - part.low, found.high - found.low))
    before, after = np.sqrt(np.mean(np.square(errors), axis=0))
    assert after < 0.85 * before
    assert abs(np.mean(errors, axis=0)[1]) < 0.01
    assert np.mean(held) >= 0.9
    assert np.mean(widths, axis=0)[1] < 0.9 * np.mean(widths, axis=0)[0]


def test_a_hard_fold_is_told_by_the_head():
    """The head is right about 30 of 40 pictures here and 90 % of all; the arm about these 30 and 4 more."""
    head = np.repeat([1.0, 0.0], [30, 10])
    arm = head.copy()
    arm[30:34] = 1.0
    found = better([scores(arm)], scores(head), (0, 0), whole=AtLarge(0.9, 0.85, 0.935))
    assert 0.9 < found.top1 < 0.97  # 34 of 40 are 0.85
    assert found.low < found.top1 < found.high <= 1.0


def test_the_slope_is_how_much_one_depends_on_the_other():
    head = np.repeat([1.0, 0.0], 500)
    assert slope(head, head) == pytest.approx(1.0, abs=0.01)
    assert slope(np.tile([1.0, 0.0], 500), head) == pytest.approx(0.0, abs=0.01)
    assert slope(1 - head, head) == 0.0
    assert 0.3 < slope(np.ones(40), np.ones(40)) < 0.6, "a head without errors tells nothing of where it is wrong"


def test_certain_figures_stay_shares():
    top1, low, high = moved(np.ones(50), np.ones(50), 0.5, AtLarge(1.0, 1.0, 1.0))
    assert 0 <= low <= top1 <= high <= 1
    assert moved(np.zeros(50), np.ones(50), 1.0, AtLarge(0.2, 0.1, 0.3))[0] == 0.0
