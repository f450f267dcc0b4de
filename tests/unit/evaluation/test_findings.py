from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation import findings
from headstart.evaluation.intervals import Comparison

CLASSES = ("ant", "bee", "cat")


def test_imbalance_is_a_tip_and_an_issue_where_small_classes_pay():
    counts = np.array([200, 100, 12])
    assert findings.imbalance(counts, CLASSES).severity == "tip"
    assert findings.imbalance(counts, CLASSES, 0.9, 0.88).severity == "tip"
    paid = findings.imbalance(counts, CLASSES, 0.9, 0.6)
    assert paid.severity == "issue"
    assert paid.items == ("cat",)


def test_classes_of_similar_size_are_not_imbalanced():
    assert findings.imbalance(np.array([40, 30, 20]), CLASSES, 0.9, 0.5) is None
    assert findings.imbalance(np.array([40, 0, 20]), CLASSES) is None


def test_small_and_single_picture_classes_are_named():
    counts = np.array([30, 3, 1])
    assert findings.small_classes(counts, CLASSES).items == ("bee",)
    assert findings.single_pictures(counts, CLASSES).items == ("cat",)
    enough = np.array([30, 5, 6])
    assert findings.small_classes(enough, CLASSES) is None
    assert findings.single_pictures(enough, CLASSES) is None


def test_guessing_and_learning_are_told_apart():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 200, p=[0.5, 0.3, 0.2])
    assert findings.no_better_than_guessing(rng.permutation(labels), labels).code == "no_better_than_guessing"
    assert findings.no_better_than_guessing(np.zeros(200, int), labels) is not None
    learned = np.where(rng.random(200) < 0.8, labels, 0)
    assert findings.no_better_than_guessing(learned, labels) is None


def test_a_series_drop_beyond_noise_is_an_issue():
    assert findings.series_drop(0.85, 0.80, "file order", Comparison(-0.05, -0.07, -0.03, 0.0)).code == "series"
    assert findings.series_drop(0.85, 0.84, "file order", Comparison(-0.01, -0.03, 0.01, 0.2)) is None


def calibrated(n, sharpen, seed=0):
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.5, 0.95, n)
    labels = (rng.random(n) > probability).astype(int)
    z = np.log(probability / (1 - probability))
    return sharpen * np.stack([z, np.zeros(n)], axis=1), labels


def test_over_confidence_needs_a_gap_and_enough_rows():
    assert findings.over_confident(*calibrated(600, 4.0)).code == "over_confident"
    assert findings.over_confident(*calibrated(600, 1.0)) is None
    assert findings.over_confident(*calibrated(600, 0.3)) is None
    assert findings.over_confident(*calibrated(100, 4.0)) is None
    logits, labels = calibrated(600, 4.0)
    assert findings.over_confident(logits, labels, 4.0) is None


@pytest.mark.parametrize(
    "found, code",
    [
        (findings.duplicates([("a", "b"), ("c", "d", "e")]), "duplicates"),
        (findings.duplicates([("a", "b")], near=True), "near_duplicates"),
        (findings.large_groups([("a", "b", "c")]), "large_near_duplicates"),
        (findings.conflicts(["a", "b"]), "conflicts"),
        (findings.leaks(["a"]), "leaks"),
        (findings.bad_pictures([("a", "truncated")]), "bad_images"),
    ],
)
def test_lists_become_findings_that_name_their_pictures(found, code):
    assert found.code == code
    assert any("a" in item for item in found.items)
    assert found.advice.endswith(".")


def test_empty_lists_are_no_findings():
    empty = (findings.duplicates, findings.large_groups, findings.conflicts, findings.leaks, findings.bad_pictures)
    assert all(make([]) is None for make in empty)
