from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.evaluation import calibrate
from headstart.evaluation.calibrate import fit_temperature
from headstart.evaluation.metrics import nll
from headstart.predictions import softmax


def drawn(scale, n=4000, k=3, seed=0):
    """Logits and labels drawn from their own probabilities, then the logits multiplied."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 1.5
    labels = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.05, 1.0, 8.0])
def test_the_temperature_undoes_a_scale(scale):
    logits, labels = drawn(scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.08)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_no_other_temperature_is_better(seed, factor):
    logits, labels = drawn(2.0, n=400, seed=seed)
    best = fit_temperature(logits, labels)
    # the truth is smoothed by 1 / 402, so the plain log-loss may be a hair better elsewhere
    assert nll(logits, labels, best) <= nll(logits, labels, best * factor) + 0.01


def test_right_on_every_row_is_not_infallible():
    labels = np.arange(8) % 2
    logits = 5.0 * np.eye(2)[labels]
    confidence = softmax(logits, fit_temperature(logits, labels)).max(axis=1)
    assert 0.85 < confidence.mean() < 0.99


def test_wrong_on_every_row_and_constant_logits_stay_finite():
    labels = np.arange(8) % 2
    for logits in (5.0 * np.eye(2)[1 - labels], np.zeros((8, 2))):
        assert 1e-4 < fit_temperature(logits, labels) < 1e4


def test_what_only_guesses_is_flat_but_told_apart_in_32_bits_however_often_it_is_cooled():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 2)), np.arange(40) % 2
    logits[np.arange(40), labels] -= 1.0  # worse than chance: the best temperature is infinite
    cooled = logits
    for _ in range(3):
        cooled = (cooled / np.float32(fit_temperature(cooled, labels))).astype(np.float32)
    confidence = softmax(cooled).astype(np.float32)
    assert np.array_equal(confidence.argmax(axis=1), logits.argmax(axis=1)), "the answers are those of the head"
    assert 0.5 < confidence.max(axis=1).mean() < 0.51 and nll(cooled, labels) == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.parametrize("scale", [1e-12, 1e-7, 1e-3, 1e4])
def test_a_multiple_has_a_multiple_of_the_temperature(scale):
    for worth in (1.0, -1.0):  # of a head that knows something, of one that is worse than chance
        logits, labels = drawn(worth, n=200)
        found = fit_temperature(scale * logits, labels) / scale  # approx takes what is below 1e-12 for nothing
        assert found == pytest.approx(fit_temperature(logits, labels), rel=1e-9)


@pytest.mark.parametrize(("n", "k", "worth"), [(10, 2, 1.0), (300, 10, 20.0), (60, 40, 0.01), (300, 3, -1.0)])
def test_it_is_where_the_log_loss_of_smoothed_truth_is_flat(n, k, worth):
    """Two hundred halvings of its slope, as in the textbook, end at the same number, also at a bound."""
    logits, labels = drawn(worth, n=n, k=k)
    target = np.eye(k)[labels] * (1 - 1 / (n + 2)) + 1 / (n + 2) / k
    spread = logits.max(axis=1).mean() - logits.mean()
    low, high = calibrate.FLATTEST / spread, calibrate.STEEPEST / spread
    for _ in range(200):
        middle = np.sqrt(low * high)
        slope = ((softmax(logits, 1 / middle) - target) * logits).sum(axis=1).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    assert fit_temperature(logits, labels) == pytest.approx(1 / middle, rel=1e-9)


def test_rows_that_were_never_judged_are_refused():
    with pytest.raises(ValueError, match="never judged"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


def test_of_many_logits_evenly_spaced_ones_are_enough(monkeypatch):
    logits, labels = drawn(3.0, n=30_000)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr(calibrate, "MOST_CELLS", 9_000)
    assert calibrate.spacing(*logits.shape) == 10
    assert (
        fit_temperature(logits, labels) == fit_temperature(logits[::10], labels[::10]) == pytest.approx(whole, rel=0.1)
    )
