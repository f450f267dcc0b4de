from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from headstart.head.columns import columns_of
from headstart.head.logistic import fit_logistic, problem_of
from headstart.head.space import open_space


def sample(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    X = rng.normal(size=(n, d)) * rng.uniform(0.2, 5, d) + rng.normal(size=d)
    X[:, :k] += 1.5 * np.eye(k)[y]
    return X, y


def floored(X):
    """Scikit-learn's standardisation, with no column divided by less than 0.3 of the typical deviation."""
    scaler = StandardScaler().fit(X)
    scaler.scale_ = np.maximum(scaler.scale_, 0.3 * np.sqrt(scaler.var_.mean()))
    return scaler


def ours(X, y, k, penalty, rotate, rows=None):
    columns = columns_of([X])
    rows = np.arange(len(X)) if rows is None else rows
    space = open_space(columns, rows, np.ones(X.shape[1]), rotate)
    point = fit_logistic(problem_of(space, y[rows], k), penalty, None, 1e-6)
    return space.head(*point.pair())


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("n, d", [(210, 20), (56, 90)])
@pytest.mark.parametrize("penalty", [1.0, 0.01])
@pytest.mark.parametrize("rotate", [False, True])
def test_the_optimum_is_scikit_learns(k, n, d, penalty, rotate):
    X, y = sample(n, d, k)
    head = ours(X, y, k, penalty, rotate)
    Z = floored(X).transform(X)
    oracle = LogisticRegression(C=1 / (n * penalty), tol=1e-8, max_iter=5000).fit(Z, y)
    weights = head.weights[1:] - head.weights[:1] if k == 2 else head.weights - head.weights.mean(axis=0)
    want = oracle.coef_ if k == 2 else oracle.coef_ - oracle.coef_.mean(axis=0)
    assert np.abs(weights - want).max() < 0.01 * np.abs(want).max()
    np.testing.assert_allclose(_centred(head.logits(X)), _centred(_logits(oracle, Z)), atol=0.02)


def test_a_warm_start_ends_at_the_same_optimum_in_fewer_steps():
    X, y = sample(300, 40, 4)
    problem = problem_of(open_space(columns_of([X]), np.arange(300), np.ones(40), True), y, 4)
    cold = fit_logistic(problem, 0.01, None, 1e-5)
    warm = fit_logistic(problem, 0.01, fit_logistic(problem, 0.03, None, 1e-5), 1e-5)
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.values[:-1], cold.values[:-1], atol=5e-3)


def test_a_fold_never_sees_the_rows_held_out():
    X, y = sample(120, 10, 3)
    rows = np.arange(90)
    before = ours(X, y, 3, 0.1, False, rows)
    changed = X.copy()
    changed[90:] += 100 * np.random.default_rng(1).normal(size=(30, 10))
    after = ours(changed, y, 3, 0.1, False, rows)
    np.testing.assert_allclose(after.logits(X), before.logits(X), atol=0.02)


def test_separable_and_tiny_data_stay_finite():
    X = np.array([[0.0, 1.0, 5.0], [1.0, 1.0, 5.0]])
    head = ours(X, np.array([0, 1]), 2, 0.001, False)
    assert np.isfinite(head.weights).all()
    assert list(head.logits(X).argmax(axis=1)) == [0, 1]


def test_factors_weigh_the_penalty_of_a_feature():
    X, y = sample(200, 12, 2)
    columns = columns_of([X])
    factors = np.where(np.arange(12) < 2, 0.01, 1.0)  # the two telling features made expensive
    space = open_space(columns, np.arange(200), factors, False)
    dear = space.head(*fit_logistic(problem_of(space, y, 2), 0.1, None, 1e-6).pair())
    plain = ours(X, y, 2, 0.1, False)
    assert np.abs(dear.folded()[0][:, :2]).max() < 0.05 * np.abs(plain.folded()[0][:, :2]).max()


def _logits(oracle, Z):
    z = oracle.decision_function(Z)
    return np.stack([-z / 2, z / 2], axis=1) if z.ndim == 1 else z


def _centred(logits):
    return logits - logits.mean(axis=1, keepdims=True)
