"""Coverage and reliability: by hand, and what the bins promise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from headstart.evaluation.coverage import coverage, reliability


def test_coverage_by_hand() -> None:
    rows = coverage(np.array([0.55, 0.75, 0.9, 0.97]), np.array([False, True, False, True]))
    found = {row["threshold"]: (row["coverage"], row["top1"], row["n"]) for row in rows}
    assert found[0.5] == (1.0, 0.5, 4)
    assert found[0.7] == (0.75, 2 / 3, 3)
    assert found[0.9] == (0.5, 0.5, 2)
    assert found[0.95] == (0.25, 1.0, 1)
    assert found[0.99] == (0.0, None, 0)


def test_rows_that_are_not_finite_do_not_count() -> None:
    confidence, correct = np.array([0.9, np.nan]), np.array([True, True])
    assert coverage(confidence, correct)[0] == {"threshold": 0.5, "coverage": 1.0, "top1": 1.0, "n": 1}
    assert coverage(confidence[1:], correct[1:]) == []
    assert coverage(np.zeros(0), np.zeros(0, bool)) == reliability(np.zeros(0), np.zeros(0, bool)) == []


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(3,\)"):
        coverage(np.zeros((3, 2)), np.zeros(3, bool))


def test_bins_hold_as_many_pictures_each_and_their_intervals_the_truth() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 1000)
    rows = reliability(confidence, rng.random(1000) < confidence)
    assert [row["n"] for row in rows] == [100] * 10
    assert sum(row["top1_low"] <= row["confidence"] <= row["top1_high"] for row in rows) >= 9
    assert all(a["high"] <= b["low"] for a, b in pairwise(rows))
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in rows)


@pytest.mark.parametrize(("n", "bins"), [(29, 0), (30, 1), (65, 2), (200, 6)])
def test_no_bin_has_fewer_than_thirty_pictures(n: int, bins: int) -> None:
    rows = reliability(np.linspace(0.5, 1.0, n), np.ones(n, bool))
    assert len(rows) == bins
    assert sum(row["n"] for row in rows) == (n if bins else 0)
    assert all(row["n"] >= 30 for row in rows)


def test_equal_probabilities_share_a_bin() -> None:
    confidence = np.repeat([0.6, 0.7, 1.0], [50, 50, 200])
    rows = reliability(confidence, np.ones(300, bool))
    assert [(row["low"], row["high"], row["n"]) for row in rows] == [(0.6, 0.6, 50), (0.7, 0.7, 50), (1.0, 1.0, 200)]


def test_groups_widen_the_intervals() -> None:
    groups = np.repeat(np.arange(10), 30)
    alone, together = (reliability(np.full(300, 0.8), groups % 2 == 0, groups=g)[0] for g in (None, groups))
    assert together["top1_high"] - together["top1_low"] > 2 * (alone["top1_high"] - alone["top1_low"])
