from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, log_loss

from headstart.evaluation import metrics
from headstart.predictions import softmax


def sample(n=300, k=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(k, n, p=np.array([0.6, 0.2, 0.15, 0.05]))
    return rng.normal(size=(n, k)) * 2 + 2 * np.eye(k)[labels], labels


def test_figures_agree_with_scikit_learn():
    logits, labels = sample()
    chosen = logits.argmax(axis=1)
    assert metrics.top1(logits, labels) == pytest.approx(accuracy_score(labels, chosen))
    assert metrics.balanced(logits, labels) == pytest.approx(balanced_accuracy_score(labels, chosen))
    assert metrics.nll(logits, labels, 1.7) == pytest.approx(log_loss(labels, softmax(logits, 1.7)))
    assert np.array_equal(metrics.confusion(logits, labels), confusion_matrix(labels, chosen))


def test_log_loss_stays_finite_where_probabilities_underflow():
    assert metrics.nll(np.array([[2000.0, 0.0]]), np.array([1])) == pytest.approx(2000)


def test_brier_of_a_sure_right_and_a_sure_wrong_row():
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.brier(sure, np.array([0, 1])) == pytest.approx(1.0)


def test_ece_is_the_gap_of_confidence_and_accuracy():
    confidence = np.full(100, 0.9)
    assert metrics.ece(confidence, np.arange(100) % 2 == 0) == pytest.approx(0.4)
    assert metrics.ece(confidence, np.arange(100) % 10 != 0) == pytest.approx(0.0, abs=1e-9)
    assert metrics.ece(np.array([1.0]), np.array([True])) == 0
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        metrics.ece(np.zeros((2, 2)), np.zeros(2, bool))


def test_majority_share():
    assert metrics.majority_share(np.array([1, 1, 1, 0])) == 0.75


def test_empty_or_ragged_input_is_refused():
    with pytest.raises(ValueError, match="n > 0"):
        metrics.top1(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ValueError, match="labels"):
        metrics.nll(np.zeros((3, 2)), np.zeros(2, int))
