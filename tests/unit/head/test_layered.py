"""Heads with extra layers in use: what they compute, how they fold, what is refused."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from headstart.artefact import record
from headstart.head import layered
from headstart.head.layered import Dense, LayeredHead, cooled, layers_of, tensors_of
from headstart.head.linear import LinearHead


def layered_head(widths=(5, 7, 4, 3), seed=0):
    rng = np.random.default_rng(seed)
    layers = [Dense(rng.normal(size=(b, a)), rng.normal(size=b)) for a, b in pairwise(widths)]
    return LayeredHead(tuple(layers[:-1]), layers[-1], rng.normal(size=widths[0]), rng.uniform(0.5, 2, widths[0]))


def by_hand(head, X):
    values = (X - head.mean) / head.scale
    for layer in head.hidden:
        values = np.maximum(values @ layer.weights.T + layer.bias, 0)
    return values @ head.last.weights.T + head.last.bias


def through(layers, X):
    for layer in layers[:-1]:
        X = np.maximum(X @ layer.weights.T + layer.bias, 0)
    return X @ layers[-1].weights.T + layers[-1].bias


@pytest.mark.parametrize("widths", [(5, 7, 3), (5, 7, 4, 3), (1, 1, 2), (6, 5, 5, 5, 5, 5, 5, 5, 5, 2)])
def test_it_computes_standardise_relu_and_a_last_layer(widths):
    head = layered_head(widths)
    X = np.random.default_rng(1).normal(size=(5000, widths[0]))  # more than two blocks
    expected = by_hand(head, X)
    np.testing.assert_allclose(head.logits(X), expected, atol=1e-4 * np.abs(expected).max())
    assert head.logits(X.astype(np.float16)).dtype == np.float32
    assert head.logits(X[:0]).shape == (0, widths[-1])


def test_folding_the_standardisation_loses_no_digits():
    head = layered_head()
    X = np.random.default_rng(1).normal(size=(50, 5))
    assert all(layer.weights.dtype == np.float64 for layer in layers_of(head))
    np.testing.assert_allclose(through(layers_of(head), X), by_hand(head, X), atol=1e-12)


def test_a_linear_head_is_a_chain_of_one():
    head = LinearHead(np.ones((2, 3)), np.ones(2), np.ones(3), np.full(3, 2.0))
    (layer,) = layers_of(head)
    np.testing.assert_array_equal(layer.weights, head.folded()[0])
    np.testing.assert_array_equal(layer.bias, head.folded()[1])


@pytest.mark.parametrize("head", [layered_head(), LinearHead(np.eye(3, 5), np.ones(3), np.ones(5), np.ones(5))])
def test_cooling_divides_the_logits(head):
    X = np.random.default_rng(1).normal(size=(9, 5))
    np.testing.assert_allclose(cooled(head, 4.0).logits(X), head.logits(X) / 4, rtol=1e-5, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    first, last = Dense(np.ones((4, 5)), np.ones(4)), Dense(np.ones((2, 4)), np.ones(2))
    ones = np.ones(5)
    assert LayeredHead((first,), last, ones, ones).logits(np.ones((1, 5))).shape == (1, 2)
    with pytest.raises(ValueError, match="layer 1 of a head takes 4 numbers, but gets 2"):
        LayeredHead((Dense(np.ones((2, 5)), np.ones(2)),), last, ones, ones)
    with pytest.raises(ValueError, match="means and scales"):
        LayeredHead((first,), last, np.ones(4), ones)
    with pytest.raises(ValueError, match="positive"):
        LayeredHead((first,), last, ones, np.array([1.0, 1, 0, 1, 1]))
    with pytest.raises(ValueError, match="hidden layers, not 0"):
        LayeredHead((), last, np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="hidden layers, not 9"):
        layered_head((3,) * 10 + (2,))
    with pytest.raises(ValueError, match="one bias per row"):
        Dense(np.ones((4, 5)), np.ones(5))
    with pytest.raises(ValueError, match="matrix"):
        Dense(np.ones((0, 5)), np.ones(0))
    with pytest.raises(ValueError, match="5 features"):
        layered_head().logits(np.ones((2, 4)))


def test_the_stored_tensors_are_the_head():
    head = layered_head((5, 7, 4, 3))
    tensors = tensors_of(head)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "weights": (3, 4), "bias": (3,), "mean": (5,), "scale": (5,),
        "hidden0.weights": (7, 5), "hidden0.bias": (7,), "hidden1.weights": (4, 7), "hidden1.bias": (4,),
    }  # fmt: skip
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(tensors["hidden1.bias"], head.hidden[1].bias.astype(np.float32))
    assert record.MOST_HIDDEN == layered.MOST_HIDDEN


def test_it_needs_no_torch():
    code = "import sys, headstart.head.layered; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
