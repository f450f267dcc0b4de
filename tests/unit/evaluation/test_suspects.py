"""Confident learning: wrong labels come first, an unsure classifier accuses nobody, odd input breaks nothing."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluation.suspects import label_noise, likely_labels, suspected, suspects
from headstart.predictions import softmax


def learned(n: int, k: int, flips: int, sure: float = 6.0, seed: int = 0):
    """Logits that know the truth about as well as `sure` says, labels of which `flips` are wrong, and which."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), truth] += sure
    labels = truth.copy()
    flipped = rng.choice(n, flips, replace=False)
    labels[flipped] = (labels[flipped] + rng.integers(1, k, flips)) % k
    return logits, labels, flipped, truth


@pytest.mark.parametrize("k", [2, 7])
def test_wrong_labels_come_first(k: int) -> None:
    logits, labels, flipped, truth = learned(400, k, 12)
    order, scores = suspects(logits, labels)
    assert sorted(order.tolist()) == list(range(400))
    assert set(order[:12].tolist()) == set(flipped.tolist())
    assert np.all(np.diff(scores[order]) <= 0)
    assert (likely_labels(logits, labels)[flipped] == truth[flipped]).all()


@pytest.mark.parametrize("k", [2, 5])
def test_wrong_labels_are_named_and_right_ones_are_not(k: int) -> None:
    logits, labels, flipped, _ = learned(600, k, 18)
    named = set(suspected(logits, labels).tolist())
    assert len(named & set(flipped.tolist())) >= 14
    assert len(named - set(flipped.tolist())) <= 2
    logits, labels, _, _ = learned(600, k, 0)
    assert len(suspected(logits, labels)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_classifier_that_is_often_wrong_and_knows_it_accuses_nobody(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.normal(size=(600, 4))
    probabilities = softmax(logits)
    labels = (rng.random((600, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)  # calibrated by construction
    assert (probabilities.argmax(axis=1) != labels).sum() > 100
    assert len(suspected(logits, labels)) <= 2
    assert label_noise(logits, labels).low == 0.0


@pytest.mark.parametrize("flips", [0, 20, 100])
def test_the_share_of_wrong_labels_is_estimated(flips: int) -> None:
    logits, labels, _, _ = learned(1000, 6, flips)
    noise = label_noise(logits, labels)
    assert noise.low <= flips / 1000 <= noise.high
    assert noise.share == pytest.approx(flips / 1000, abs=0.012)
    assert noise.chances.sum() == pytest.approx(flips, abs=12)


def test_many_rows_are_estimated_on_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels, _, _ = learned(2000, 4, 100)
    whole = label_noise(logits, labels)
    monkeypatch.setattr("headstart.evaluation.suspects.CELLS", 4000)
    some = label_noise(logits, labels)
    assert some.low <= whole.share <= some.high
    assert some.high - some.low > whole.high - whole.low
    assert len(some.chances) == 2000


def test_rows_without_a_probability_come_last_and_are_never_suspected() -> None:
    logits, labels, flipped, _ = learned(60, 3, 4)
    logits[flipped[0]] = np.nan
    order, scores = suspects(logits, labels)
    assert order[-1] == flipped[0] and scores[flipped[0]] == -1
    assert flipped[0] not in suspected(logits, labels)
    nothing = np.full((4, 2), np.nan)
    assert len(suspected(nothing, np.zeros(4, int))) == 0
    assert suspects(nothing, np.zeros(4, int))[0].tolist() == [0, 1, 2, 3]


def test_no_pictures_are_no_suspects() -> None:
    order, scores = suspects(np.zeros((0, 3)), np.zeros(0, int))
    assert len(order) == len(scores) == len(suspected(np.zeros((0, 3)), np.zeros(0, int))) == 0


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        suspects(np.zeros((3, 2)), np.zeros(2, int))


def test_a_temperature_counts_as_dividing_the_logits() -> None:
    logits, labels, _, _ = learned(400, 5, 12)
    np.testing.assert_allclose(suspects(3.0 * logits, labels, 3.0)[1], suspects(logits, labels)[1], rtol=1e-9)
    np.testing.assert_array_equal(suspected(3.0 * logits, labels, 3.0), suspected(logits, labels))
    warm, cold = label_noise(3.0 * logits, labels, 3.0), label_noise(logits, labels)
    assert (warm.share, warm.low, warm.high) == pytest.approx((cold.share, cold.low, cold.high))
