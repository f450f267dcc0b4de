"""Folds by a hash: what belongs together stays together, shares come out, and a fold does not depend on the others."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data.keys import contradicted, hashed_folds, together


def keys(values):
    return np.array(values, np.uint64)


def test_equal_pixels_and_groups_are_one_also_through_a_chain():
    #               0  1  2  3  4  5  6  7
    pixels = keys([10, 11, 10, 12, 13, 14, 15, 13])
    groups = keys([5, 6, 6, 0, 7, 7, 0, 0])  # 0-2 by pixels, 1-2 by group, 4-5 by group, 4-7 by pixels
    assert together(pixels, groups).tolist() == [0, 0, 0, 3, 4, 4, 6, 4]
    assert together(pixels).tolist() == [0, 1, 0, 3, 4, 5, 6, 4]


def test_a_long_chain_is_followed_to_its_end():
    n = 400
    pixels, groups = keys(np.arange(n) // 2 + 1), keys((np.arange(n) + 1) // 2 + 1)
    assert set(together(pixels, groups).tolist()) == {0}, "every picture shares with the next one"


def test_against_a_plain_union():
    rng = np.random.default_rng(0)
    pixels, groups = keys(rng.integers(1, 150, 200)), keys(rng.integers(0, 60, 200))
    parent = list(range(200))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(200):
        for j in range(i):
            if pixels[i] == pixels[j] or groups[i] == groups[j] != 0:
                a, b = sorted((root(i), root(j)))
                parent[b] = a
    assert together(pixels, groups).tolist() == [root(i) for i in range(200)]


@pytest.mark.parametrize("seed", [0, 1])
def test_folds_are_even_and_depend_on_the_key_alone(seed):
    rng = np.random.default_rng(3)
    many = rng.integers(0, 2**63, 50_000).astype(np.uint64)
    folds = hashed_folds(many, seed, 5)
    assert np.abs(np.bincount(folds, minlength=5) / len(many) - 0.2).max() < 0.01
    order = rng.permutation(len(many))[:1000]
    assert np.array_equal(hashed_folds(many[order], seed, 5), folds[order])
    assert (hashed_folds(many, seed + 1, 5) == folds).mean() < 0.25, "another seed, other folds"
    near = hashed_folds(np.arange(10_000, dtype=np.uint64), seed, 5)
    assert np.abs(np.bincount(near) / 10_000 - 0.2).max() < 0.02, "neighbouring keys are spread as well"


def test_contradictions_are_found():
    pixels, labels = keys([1, 2, 1, 3, 2, 3]), np.array([0, 1, 0, 2, 0, 2])
    assert contradicted(pixels, labels).tolist() == [False, True, False, False, True, False]
