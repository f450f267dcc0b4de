from __future__ import annotations

import numpy as np
import pytest

from headstart.head.linear import LinearHead


def head(k=3, d=5, seed=0):
    rng = np.random.default_rng(seed)
    return LinearHead(rng.normal(size=(k, d)), rng.normal(size=k), rng.normal(size=d), rng.uniform(0.5, 2, d))


def test_folding_the_standardisation_changes_no_logit():
    X = np.random.default_rng(1).normal(size=(5000, 5))
    weights, bias = head().folded()
    np.testing.assert_allclose(head().logits(X), X @ weights.T + bias, atol=1e-4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="needs"):
        LinearHead(np.ones((2, 3)), np.ones(2), np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="positive"):
        LinearHead(np.ones((2, 3)), np.ones(2), np.ones(3), np.array([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="5 features"):
        head().logits(np.ones((2, 4)))
