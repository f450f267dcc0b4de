from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from headstart.head.estimator import HeadClassifier


@parametrize_with_checks([HeadClassifier()])
def test_scikit_learn_accepts_the_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("penalty", [0, -1.0, "best", None])
def test_a_penalty_that_is_none_is_refused(penalty):
    X = np.random.default_rng(0).normal(size=(12, 3))
    with pytest.raises(ValueError, match="penalty"):
        HeadClassifier(penalty=penalty).fit(X, np.arange(12) % 2)


def test_a_class_with_one_row_is_learned():
    X = np.random.default_rng(0).normal(size=(9, 3))
    X[8] += 20
    y = np.array(["a"] * 4 + ["b"] * 4 + ["rare"])
    assert HeadClassifier().fit(X, y).predict(X[8:])[0] == "rare"
