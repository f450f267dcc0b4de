"""Series from names: file order, prefixes, and names that say nothing."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

from headstart.data.series import find_series, natural
from headstart.data.split import make_split


def test_file_order_across_class_folders():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    names = [f"{'ab'[k]}/cell{i:04d}.png" for i, k in enumerate(labels)]
    shuffled = rng.permutation(1000)
    series = find_series([names[i] for i in shuffled], labels[shuffled])
    assert series.how == "file order"
    assert np.array_equal(series.groups, shuffled // 200)


def test_numbers_are_numbers():
    names = sorted(f"x/frame{i}.jpg" for i in range(100))
    labels = np.array([int(name[7:-4]) % 2 for name in names])
    series = find_series(names, labels)
    assert [int(g) for g in series.groups] == [int(name[7:-4]) // 20 for name in names]
    assert natural("a2") < natural("a10") < natural("b1")


def test_blocks_within_classes_where_names_follow_the_class():
    names = [f"cat/cat.{i}.jpg" for i in range(50)] + [f"dog/dog.{i}.jpg" for i in range(50)]
    labels = np.repeat([0, 1], 50)
    series = find_series(names, labels)
    assert series.how == "file order"
    assert np.array_equal(series.groups, np.tile(np.arange(50) // 10, 2))


def test_a_class_with_one_picture_does_not_keep_a_block_in_training():
    names = [f"x/img{i:03d}.jpg" for i in range(101)]
    labels = np.array([i % 2 for i in range(100)] + [2])
    groups = find_series(names, labels).groups
    split = make_split(labels, groups, 0)
    assert (split.folds[0] == -1).sum() == 1 and split.count == 5


def test_prefixes_are_preferred():
    names = [f"{'ok' if c % 3 else 'bad'}/panel{p}_cell{c}.jpg" for p in range(12) for c in range(10)]
    labels = np.array([0 if name.startswith("ok") else 1 for name in names])
    series = find_series(names, labels)
    assert series.how == "name prefix"
    assert len(np.unique(series.groups)) == 12
    for p in range(12):
        assert len(set(series.groups[p * 10 : p * 10 + 10].tolist())) == 1


def test_prefixes_that_are_the_classes_are_no_series():
    names = [f"c{k}/n{k:08d}_{i}.jpg" for k in range(20) for i in range(10)]
    series = find_series(names, np.repeat(np.arange(20), 10))
    assert series is None or series.how == "file order"


@pytest.mark.parametrize(
    "names",
    [
        [f"a/{uuid.UUID(int=i * 7919 << 90)}.jpg" for i in range(100)],
        [f"a/{i * 7919**9:032x}.jpg" for i in range(1, 101)],
        [
            "a/" + "".join(np.random.default_rng(i).choice(list("abcdefghij0123456789"), 10)) + ".jpg"
            for i in range(100)
        ],
        [f"a/{word}.jpg" for word in ("robin wren heron crane finch eagle stork swan duck goose " * 10).split()],
        [f"a/frame{i}.jpg" for i in range(10)],
    ],
)
def test_names_that_say_nothing(names):
    assert find_series(names, np.arange(len(names)) % 2) is None
