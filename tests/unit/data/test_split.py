"""Folds: no group straddles, no class is missing in training, balanced, the same for the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.data.split import make_split


@st.composite
def labelled(draw):
    n = draw(st.integers(2, 80))
    labels = draw(st.lists(st.integers(0, draw(st.integers(0, 9))), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, min(n, draw(st.sampled_from([1, 3, 7, 80])))), min_size=n, max_size=n))
    return np.array(labels), np.array(groups)


# Balance alone would put both groups of class 4 into one fold here.
TEMPTING = np.array([3, 2, 1, 4, 3, 3, 2, 4, 1]), np.array([5, 3, 6, 2, 5, 2, 5, 6, 5])


@settings(max_examples=150, deadline=None)
@example(TEMPTING, 738, 5, 1)
@given(labelled(), st.integers(0, 5), st.integers(2, 6), st.integers(1, 3))
def test_what_holds_for_every_split(data, seed, folds, repeats):
    labels, groups = data
    split = make_split(labels, groups, seed, folds, repeats)
    assert split.folds.shape == (repeats, len(labels)) and split.folds.dtype == np.int64
    assert split.folds.min() >= -1 and split.folds.max() < folds
    for row in split.folds:
        for group in np.unique(groups):
            assert len(set(row[groups == group].tolist())) == 1
        for fold in range(split.count):
            assert set(labels[row != fold].tolist()) == set(labels.tolist())
    again = make_split(labels, groups, seed, folds, repeats)
    assert np.array_equal(again.folds, split.folds)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 60), min_size=2, max_size=12), st.integers(0, 9))
def test_single_pictures_are_dealt_evenly(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    split = make_split(labels, np.arange(len(labels)), seed)
    for k, size in enumerate(sizes):
        counts = np.bincount(split.folds[0][labels == k], minlength=split.count)
        assert counts.sum() == size
        assert counts.max() - counts.min() <= 1
    totals = np.bincount(split.folds[0], minlength=split.count)
    assert totals.max() - totals.min() <= len(sizes)


def test_groups_of_uneven_size_stay_balanced():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), rng.integers(1, 30, 300))
    labels = (rng.random(300)[groups] + 0.3 * rng.random(groups.size) > 0.6).astype(np.int64)
    split = make_split(labels, groups, 0)
    for k in (0, 1):
        counts = np.bincount(split.folds[0][labels == k], minlength=5)
        assert counts.max() - counts.min() <= 0.1 * counts.mean()


def test_classes_of_three_and_of_two_and_of_one():
    split = make_split(np.repeat(np.arange(800), 3), np.arange(2400), 0)
    assert split.count == 3 and (np.bincount(split.folds[0]) == 800).all()
    split = make_split(np.repeat(np.arange(9), 2), np.arange(18), 0)
    assert split.count == 2 and (split.folds >= 0).all()
    split = make_split(np.array([0] * 10 + [1]), np.arange(11), 0)
    assert split.folds[0, 10] == -1 and (split.folds[0, :10] >= 0).all()


def test_nothing_to_judge_when_each_class_is_one_group():
    split = make_split(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 0)
    assert (split.folds == -1).all() and split.count == 0


def test_five_blocks_become_five_folds():
    labels = np.random.default_rng(0).integers(0, 3, 500)
    split = make_split(labels, np.arange(500) // 100, 0)
    assert sorted(np.bincount(split.folds[0]).tolist()) == [100] * 5


def test_seeds_and_repeats_differ():
    labels, groups = np.repeat([0, 1], 50), np.arange(100)
    split = make_split(labels, groups, 0, repeats=2)
    assert not np.array_equal(split.folds[0], split.folds[1])
    assert not np.array_equal(split.folds[0], make_split(labels, groups, 1).folds[0])
    assert json.loads(json.dumps(split.to_json()))["folds"] == split.folds.tolist()


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="one length"):
        make_split(np.zeros(3, int), np.zeros(2, int), 0)
    with pytest.raises(ValueError, match="2 folds"):
        make_split(np.zeros(3, int), np.zeros(3, int), 0, folds=1)
