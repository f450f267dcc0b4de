"""The likeliest classes of a discarded head, however many classes it has."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.embedding.columns import TOP, _top


@pytest.mark.parametrize("classes", [2, 5, 6, 1000])
def test_the_likeliest_classes_in_order(classes):
    logits = np.random.default_rng(classes).normal(size=(3, classes)).astype(np.float32)
    indices, probabilities = _top(logits)
    known = min(TOP, classes)
    np.testing.assert_array_equal(indices[:, :known], np.argsort(-logits, axis=1)[:, :known])
    assert not probabilities[:, known:].any() and (np.diff(probabilities.astype(float), axis=1) <= 0).all()
    if classes <= TOP:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=2e-3)
