"""The paired comparison pays for the choice, and only for the choice."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.howmuch.better import Scores, better


def rows_of(accuracy, n, rng, shape=(1,)):
    correct = (rng.random((*shape, n)) < accuracy).astype(float)
    return Scores(correct, 1.0 - correct + rng.random((*shape, n)) * 0.1)


def best_of(arms):
    at = int(np.argmax([a.correct[0].mean() for a in arms]))
    return at, 0


def test_the_best_of_many_equals_looks_better_than_it_is_and_the_correction_takes_that_back():
    apparent, corrected, sure = [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rival = rows_of(0.8, 100, rng)
        arms = [rows_of(0.8, 100, rng) for _ in range(12)]
        found = better(arms, rival, best_of(arms), seed=seed)
        apparent.append(found.apparent)
        corrected.append(found.gain)
        sure.append(found.p >= 0.9)
    assert np.mean(apparent) > 0.04
    assert abs(np.mean(corrected)) < 0.03
    assert np.mean(sure) <= 0.2


def test_one_arm_needs_no_correction():
    rng = np.random.default_rng(1)
    rival, arm = rows_of(0.8, 400, rng), rows_of(0.9, 400, rng)
    found = better([arm], rival, (0, 0))
    assert found.gain == pytest.approx(found.apparent, abs=0.005)
    assert found.p > 0.99
    assert found.low < found.top1 < found.high


def test_the_same_answers_are_neither_better_nor_worse():
    rival = rows_of(0.8, 60, np.random.default_rng(0))
    found = better([rival, rival], rival, (1, 0))
    assert (found.p, found.p_nll, found.gain) == (0.5, 0.5, 0.0)


def test_rows_of_one_group_count_once():
    rng = np.random.default_rng(3)
    rival, arm = rows_of(0.7, 30, rng), rows_of(0.9, 30, rng)
    alone = better([arm], rival, (0, 0))

    def times(s):
        return Scores(np.repeat(s.correct, 8, axis=1), np.repeat(s.losses, 8, axis=1))

    grouped = better([times(arm)], times(rival), (0, 0), np.repeat(np.arange(30), 8))
    blind = better([times(arm)], times(rival), (0, 0))
    assert grouped.error == pytest.approx(alone.error, rel=1e-6)
    assert blind.error < 0.5 * grouped.error


def test_one_group_says_nothing():
    rng = np.random.default_rng(4)
    found = better([rows_of(0.9, 20, rng)], rows_of(0.5, 20, rng), (0, 0), np.zeros(20, int))
    assert found.p == found.p_nll == 0.5
