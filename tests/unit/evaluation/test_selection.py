from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation import intervals, selection
from headstart.evaluation.selection import bbc_cv


def test_choosing_among_equals_is_corrected():
    """100 coins of 0.5: the best looks far better on 100 rows, and is not."""
    correct = (np.random.default_rng(0).random((100, 100)) < 0.5).astype(float)
    best = correct.mean(axis=1).max()
    corrected = bbc_cv(correct, correct)
    assert best > 0.6
    assert abs(corrected.value - 0.5) < abs(best - 0.5) * 0.75
    assert corrected.low < 0.5 < corrected.high


def test_one_candidate_needs_no_correction():
    correct = (np.arange(400) % 5 > 0).astype(float)[None]
    corrected = bbc_cv(correct, correct)
    assert corrected.value == pytest.approx(0.8, abs=0.01)
    assert corrected.low < 0.8 < corrected.high


def test_a_clear_winner_keeps_its_figure():
    rng = np.random.default_rng(1)
    correct = np.stack([rng.random(500) < p for p in (0.5, 0.9, 0.6)]).astype(float)
    assert bbc_cv(correct, correct).value == pytest.approx(correct[1].mean(), abs=0.01)


def test_groups_widen_the_interval():
    correct = np.repeat(np.random.default_rng(2).random((3, 20)) < 0.7, 15, axis=1).astype(float)
    alone = bbc_cv(correct, correct)
    together = bbc_cv(correct, correct, np.repeat(np.arange(20), 15))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_single_group_says_nothing_about_new_ones():
    correct = np.ones((2, 10))
    corrected = bbc_cv(correct, correct, np.zeros(10, int))
    assert (corrected.value, corrected.low, corrected.high) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("grouped", [False, True])
def test_how_many_draws_are_worked_on_at_once_decides_nothing(monkeypatch, grouped):
    rng = np.random.default_rng(2)
    correct = np.stack([rng.random(200) < p for p in (0.7, 0.75, 0.72)]).astype(float)
    groups = np.arange(200) // 4 if grouped else None
    whole = bbc_cv(correct, correct, groups)
    monkeypatch.setattr(intervals, "_BLOCK_CELLS", 7 * 200)  # blocks of seven draws, the last one shorter
    for cells in (1, 20 * 200):
        monkeypatch.setattr(selection, "JOINED_CELLS", cells)
        assert bbc_cv(correct, correct, groups) == whole
