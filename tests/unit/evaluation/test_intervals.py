from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.intervals import (
    accuracy_interval,
    mcnemar,
    paired_bootstrap,
    paired_standard_error,
    wilson,
)


def of_mean(correct, groups=None):
    """The bootstrap interval of a share: against never right."""
    found = paired_bootstrap(correct, np.zeros(len(correct)), groups)
    return found.low, found.high


@pytest.mark.parametrize(
    "n, low, high", [(50, 0.786, 0.957), (100, 0.826, 0.945), (500, 0.870, 0.923), (2000, 0.886, 0.912)]
)
def test_wilson_gives_the_published_intervals(n, low, high):
    assert wilson(0.9 * n, n) == pytest.approx((low, high), abs=6e-4)


def test_wilson_at_the_ends():
    assert wilson(10, 10)[1] == 1.0
    assert 0.6 < wilson(10, 10)[0] < 0.8
    assert wilson(0, 0) == (0.0, 1.0)


def test_grouped_rows_widen_the_interval():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    correct = np.repeat(rng.random(40) < 0.8, 10)
    alone, together = accuracy_interval(correct), accuracy_interval(correct, groups)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    low, high = of_mean(correct, groups)
    assert together == pytest.approx((low, high), abs=0.05)


def test_groups_of_one_change_nothing():
    correct = np.arange(30) % 4 > 0
    assert accuracy_interval(correct, np.arange(30)) == accuracy_interval(correct)


def test_all_right_in_few_groups_is_not_certainty():
    low, _ = accuracy_interval(np.ones(100, bool), np.repeat(np.arange(5), 20))
    assert low < 0.7


def test_bootstrap_interval_of_independent_rows_is_wilsons():
    correct = np.random.default_rng(1).random(800) < 0.7
    assert of_mean(correct) == pytest.approx(wilson(correct.sum(), 800), abs=0.01)


def test_paired_bootstrap_sees_a_small_but_steady_difference():
    rng = np.random.default_rng(0)
    second = rng.random(1000) < 0.8
    first = second.copy()
    first[np.flatnonzero(~second)[:20]] = True
    better = paired_bootstrap(first, second)
    assert better.difference == pytest.approx(0.02)
    assert better.p_better > 0.99
    assert better.low > 0
    assert paired_bootstrap(second, first).p_better < 0.01


def test_paired_bootstrap_of_equal_answers_is_even():
    correct = np.arange(50) % 3 > 0
    assert paired_bootstrap(correct, correct).p_better == 0.5


def test_paired_bootstrap_by_group_is_less_sure():
    rng = np.random.default_rng(3)
    second = rng.random(200) < 0.6
    first = second.copy()
    first[:30] = True  # the whole gain is in one group
    groups = np.arange(200) // 30
    assert paired_bootstrap(first, second).p_better > paired_bootstrap(first, second, groups).p_better


@pytest.mark.parametrize("size", [1, 7])
def test_drawing_kinds_of_rows_is_drawing_rows(size):
    """The same rows, nudged so that no two are alike, are drawn one by one."""
    rng = np.random.default_rng(5)
    first, second = rng.random(560) < 0.8, rng.random(560) < 0.75
    groups = np.arange(560) // size
    kinds = paired_bootstrap(first, second, groups, draws=20_000)
    rows = paired_bootstrap(first + 1e-9 * rng.random(560), second, groups, draws=20_000)
    assert (kinds.low, kinds.high) == pytest.approx((rows.low, rows.high), abs=0.003)
    assert kinds.p_better == pytest.approx(rows.p_better, abs=0.01)


def test_paired_standard_error_is_the_textbooks():
    rng = np.random.default_rng(0)
    a, b = rng.random(400), rng.random(400)
    assert paired_standard_error(a, b) == pytest.approx((a - b).std(ddof=1) / 20)
    assert paired_standard_error(a, a) == 0


def test_mcnemar_exact():
    first = np.array([True] * 10 + [False] * 2 + [True] * 30)
    second = np.array([False] * 10 + [True] * 2 + [True] * 30)
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(first, first) == 1.0
