from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.head.columns import columns_of, divisors
from headstart.head.ridge import KINDS, DepthSet, Grid, cross_validate, fit_closed


def sample(n, dims=(5, 30, 12), k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    matrices = [rng.normal(size=(n, d)) * rng.uniform(0.1, 9, d) + rng.normal(size=d) * 4 for d in dims]
    for m in matrices:
        moved = np.arange(min(k - 1, m.shape[1]))
        m[:, moved] += 2.0 * (y[:, None] == moved)
    return matrices, y, np.random.default_rng(seed + 1).permutation(np.arange(n) % 4)


def floored(X, dims):
    """Scikit-learn's standardisation, with no column divided by less than 0.3 of its depth's typical deviation."""
    scaler = StandardScaler().fit(X)
    typical = [np.sqrt(part.mean()) for part in np.split(scaler.var_, np.cumsum(dims)[:-1])]
    scaler.scale_ = np.maximum(scaler.scale_, 0.3 * np.repeat(typical, dims))
    return scaler


def scores_of(matrices, sets, y, k, folds, penalties, kinds=KINDS):
    got = {}

    def receive(which, kind, at, held, logits):
        got.setdefault((which, kind, at), np.full((len(y), k), np.nan))[held] = logits

    cross_validate(columns_of(matrices), sets, y, k, folds, ([Grid(penalties, kinds)] * len(sets), receive))
    return got


SETS = [DepthSet((0,), (1.0,)), DepthSet((1, 2), (1.0, 1.0)), DepthSet((0, 1, 2), (1.5, 1.0, 0.5))]


@pytest.mark.parametrize("n", [24, 200])  # both solved forms: fewer and more rows than features
def test_out_of_fold_scores_equal_an_explicit_fit_per_fold(n):
    matrices, y, folds = sample(n)
    penalties = [0.01, 1.0]
    got = scores_of(matrices, SETS, y, 3, folds, penalties)
    for which, depth_set in enumerate(SETS):
        X = np.concatenate([matrices[i] for i in depth_set.depths], axis=1)
        factors = np.repeat(depth_set.factors, [matrices[i].shape[1] for i in depth_set.depths])
        for at, penalty in enumerate(penalties):
            for fold in range(4):
                train, held = folds != fold, folds == fold
                scaler = floored(X[train], [matrices[i].shape[1] for i in depth_set.depths])
                ridge = Ridge(alpha=penalty * train.sum()).fit(
                    scaler.transform(X[train]) * factors, np.eye(3)[y[train]]
                )
                want = ridge.predict(scaler.transform(X[held]) * factors)
                np.testing.assert_allclose(got[which, "ridge", at][held], want, atol=1e-9)


@pytest.mark.parametrize("n", [30, 300])
def test_discriminants_equal_the_textbook_formula(n):
    matrices, y, _ = sample(n, dims=(40,))
    X, penalty = matrices[0], 0.3
    head = fit_closed(columns_of(matrices), y, 3, np.ones(40), "lda", penalty)
    Z = floored(X, [40]).transform(X)
    means = np.stack([Z[y == k].mean(axis=0) for k in range(3)])
    within = (Z - means[y]).T @ (Z - means[y]) / n + penalty * np.eye(40)
    weights = np.linalg.solve(within, means.T)
    want = Z @ weights - 0.5 * np.einsum("dk,kd->k", weights, means) + np.log(np.bincount(y) / n)
    np.testing.assert_allclose(head.logits(X), want, rtol=1e-4, atol=1e-3)


def test_discriminants_agree_with_scikit_learn_without_shrinkage():
    matrices, y, _ = sample(300, dims=(12,))
    head = fit_closed(columns_of(matrices), y, 3, np.ones(12), "lda", 1e-9)
    oracle = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()).fit(matrices[0], y)
    assert np.array_equal(head.logits(matrices[0]).argmax(axis=1), oracle.predict(matrices[0]))


@pytest.mark.parametrize("kind", ["ridge", "lda"])
@pytest.mark.parametrize(("n", "k"), [(24, 3), (200, 3), (200, 8)])  # 8 classes: more than the features of one set
def test_a_refit_on_the_training_rows_of_a_fold_gives_its_scores(n, k, kind):
    matrices, y, folds = sample(n, k=k)
    got = scores_of(matrices, SETS, y, k, folds, [0.1])
    train, held = folds != 0, folds == 0
    for which, depth_set in enumerate(SETS):
        columns = columns_of([matrices[i][train] for i in depth_set.depths])
        head = fit_closed(columns, y[train], k, depth_set.factors_of(columns_of(matrices)), kind, 0.1)
        X = np.concatenate([matrices[i][held] for i in depth_set.depths], axis=1)
        np.testing.assert_allclose(head.logits(X), got[which, kind, 0][held], rtol=1e-3, atol=1e-4)


def test_constant_and_nearly_constant_features_change_nothing():
    matrices, y, folds = sample(60, dims=(6,))
    constant = np.concatenate([matrices[0], np.full((60, 1), 3.1), np.zeros((60, 1))], axis=1)
    sets = [DepthSet((0,), (1.0,))]
    plain = scores_of(matrices, sets, y, 3, folds, [0.1])
    padded = scores_of([constant], sets, y, 3, folds, [0.1])
    for key, value in plain.items():
        np.testing.assert_allclose(padded[key], value, atol=1e-8)


def test_a_feature_that_is_constant_in_one_training_side_stays_finite():
    matrices, y, folds = sample(40, dims=(6,))
    matrices[0][:, 5] = np.where(folds == 2, 50.0, 7.0)
    for value in scores_of(matrices, [DepthSet((0,), (1.0,))], y, 3, folds, [0.01]).values():
        assert np.isfinite(value).all()
        assert np.abs(value).max() < 1e3


def test_float16_features_give_what_their_exact_values_give():
    matrices, y, folds = sample(80)
    halves = [m.astype(np.float16) for m in matrices]
    exact = [m.astype(np.float64) for m in halves]
    one, two = (scores_of(m, SETS, y, 3, folds, [0.1]) for m in (halves, exact))
    for key, value in one.items():
        np.testing.assert_allclose(value, two[key], atol=1e-8)


def test_two_rows_are_enough():
    head = fit_closed(columns_of([np.array([[0.0, 1.0], [1.0, 1.0]])]), np.array([0, 1]), 2, np.ones(2), "ridge", 0.1)
    assert list(head.logits(np.array([[0.0, 1.0], [1.0, 1.0]])).argmax(axis=1)) == [0, 1]


@pytest.mark.parametrize("k", [3, 10])  # fewer and more than the features
def test_a_class_absent_from_a_training_side_stays_finite(k):
    matrices, y, _ = sample(60, dims=(8,), k=k)
    folds = np.where(y == 2, 0, 1 + np.arange(60) % 2)
    for value in scores_of(matrices, [DepthSet((0,), (1.0,))], y, k, folds, [0.1]).values():
        assert np.isfinite(value).all() and np.abs(value).max() < 1e3


@pytest.mark.parametrize("k", [3, 10])
def test_one_kind_alone_gives_what_both_give(k):
    matrices, y, folds = sample(80, dims=(8,), k=k)
    sets = [DepthSet((0,), (1.0,))]
    both = scores_of(matrices, sets, y, k, folds, [0.1, 1.0])
    for kind in KINDS:
        alone = scores_of(matrices, sets, y, k, folds, [0.1, 1.0], kinds=(kind,))
        assert set(alone) == {key for key in both if key[1] == kind}
        for key, value in alone.items():
            np.testing.assert_allclose(value, both[key], atol=1e-9)


def test_not_finite_features_are_refused():
    with pytest.raises(ValueError, match="finite"):
        columns_of([np.array([[1.0, np.nan], [0.0, 1.0]])])


def test_what_varies_less_than_its_depth_is_divided_by_a_share_of_the_typical_deviation():
    deviation = np.array([3.0, 4.0, 5.0, 1e-5, 0.0, 1e-3, 1e-3])
    found = divisors(deviation, np.ones(7), (5, 2))
    typical = np.sqrt((9 + 16 + 25 + 1e-10) / 4)
    np.testing.assert_allclose(found, [3, 4, 5, 0.3 * typical, 0.3 * typical, 1e-3, 1e-3])
    scale = np.array([2.0, 1.0, 0.5, 1e-5, 1.0, 3.0, 1e-3])
    np.testing.assert_allclose(divisors(deviation / scale, scale, (5, 2)) * scale, found)
    assert divisors(np.zeros(2), np.array([7.0, 1.0]), (2,)).tolist() == [1, 1], "all constant"


@pytest.mark.parametrize("n", [24, 200])
def test_a_channel_that_is_as_good_as_dead_does_not_decide_about_a_picture_that_shows_it(n):
    matrices, y, _ = sample(n)
    plain = fit_closed(columns_of(matrices), y, 3, np.ones(47), "lda", 0.1)
    dead = 1e-3 * np.random.default_rng(5).normal(size=(n, 1))
    with_it = fit_closed(columns_of([*matrices[:2], np.hstack([matrices[2], dead])]), y, 3, np.ones(48), "lda", 0.1)
    shown = np.concatenate(matrices, axis=1)[:5]
    change = with_it.logits(np.hstack([shown, np.full((5, 1), 3.0)])) - plain.logits(shown)
    assert np.abs(change).max() < 1.0
