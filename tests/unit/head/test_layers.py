"""Training extra layers: exact, repeatable, able to learn what a linear head cannot, honest on noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from headstart.head.layered import Dense, LayeredHead
from headstart.head.layers import (
    AdamW,
    Examples,
    LayerOptions,
    fold_logits,
    fold_norm,
    layers_out_of_fold,
    train_layers,
)

QUICK = LayerOptions(hidden=(16,), epochs=12, dropout=0.2, learning_rate=1e-2)


def blobs(n=120, d=8, k=3, seed=0, distance=3.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    centres = rng.normal(0, distance, (k, d))
    return Examples((centres[labels] + rng.normal(size=(n, d))).astype(np.float16), labels, k)


def crossed(n=400, seed=0):
    """Exclusive or of two signs among six other features: no linear head is better than guessing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    return Examples((X + np.sign(X)).astype(np.float16), ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(np.int64), 2)


def folds_of(n, parts=3):
    return np.arange(n)[None] // 2 % parts


def accuracy(examples, folds, options):
    found = layers_out_of_fold(examples, folds, options).values()
    return np.mean(np.concatenate([trace.logits[-1].argmax(axis=1) == examples.labels[trace.rows] for trace in found]))


def same(a: LayeredHead, b: LayeredHead) -> bool:
    pairs = zip((*a.hidden, a.last), (*b.hidden, b.last), strict=True)
    return all(np.array_equal(x.weights, y.weights) and np.array_equal(x.bias, y.bias) for x, y in pairs)


def test_folding_a_norm_is_exact():
    """Against torch's own Linear, BatchNorm1d with moments far from 0 and 1, and ReLU, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear, norm = torch.nn.Linear(6, 5).double(), torch.nn.BatchNorm1d(5).double().eval()
        norm.running_mean.normal_(3, 2)
        norm.running_var.uniform_(1e-4, 50)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        X = torch.randn(40, 6, dtype=torch.float64) * 5
    arrays = [t.detach().numpy() for t in (linear.weight, linear.bias, norm.weight, norm.bias)]
    moments = norm.running_mean.numpy(), norm.running_var.numpy()
    folded = fold_norm(Dense(*arrays[:2]), arrays[2], arrays[3], moments)
    expected = torch.relu(norm(linear(X))).detach().numpy()
    np.testing.assert_allclose(np.maximum(X.numpy() @ folded.weights.T + folded.bias, 0), expected, atol=1e-11)


def test_the_finished_head_is_what_torch_computes():
    """One batch, no dropout, one epoch at a rate of nearly nothing: the head equals BatchNorm in training mode."""
    examples = blobs(50)
    options = LayerOptions(hidden=(7, 5), dropout=0.0, epochs=1, batch=50, learning_rate=1e-12, weight_decay=0.0)
    head = train_layers(examples, options)
    X = torch.from_numpy(examples.matrix.astype(np.float64))
    X = (X - X.mean(0)) / X.std(0, unbiased=False)
    for layer in head.hidden:  # a folded layer, normalised once more, is itself but for the fold's own epsilon
        sums = X @ torch.from_numpy(layer.weights.T)
        normed = torch.nn.functional.batch_norm(sums, None, None, training=True, eps=1e-12)
        X = torch.relu(normed)
    expected = X @ torch.from_numpy(head.last.weights.T) + torch.from_numpy(head.last.bias)
    np.testing.assert_allclose(head.logits(examples.matrix), expected.numpy(), atol=3e-3)


def test_the_optimizer_is_adamw():
    start = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    own, reference = AdamW([ours], [0.3]), torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.3)
    for _ in range(20):
        reference.zero_grad()
        for tensor in (ours, theirs):
            (tensor**4).sum().backward()
        own.step(0.01)
        reference.step()
    assert ours.grad is None
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert (ours - start).abs().max() > 0.05


def test_a_seed_decides_everything_and_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    once = train_layers(blobs(), QUICK)
    torch.rand(3)  # somebody else draws
    again = train_layers(blobs(), QUICK)
    torch.random.set_rng_state(before)
    train_layers(blobs(), QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert same(once, again)
    assert not same(once, train_layers(blobs(), dataclasses.replace(QUICK, seed=1)))


def test_it_also_trains_where_the_caller_switched_gradients_off():
    with torch.no_grad():
        assert same(train_layers(blobs(), QUICK), train_layers(blobs(), QUICK))


def test_it_learns_what_a_linear_head_cannot():
    options = LayerOptions(hidden=(32,), epochs=40, dropout=0.1, learning_rate=1e-2)
    examples = crossed()
    assert accuracy(examples, folds_of(400), options) > 0.85
    signs = np.linalg.lstsq(np.c_[examples.matrix, np.ones(400)], examples.labels - 0.5, rcond=None)[0]
    linear = (np.c_[examples.matrix, np.ones(400)] @ signs > 0) == examples.labels
    assert linear.mean() < 0.65


def test_two_hidden_layers_learn_too():
    assert accuracy(blobs(), folds_of(120), dataclasses.replace(QUICK, hidden=(16, 8), epochs=30)) > 0.93


def test_shuffled_labels_stay_at_chance_out_of_fold():
    examples = blobs(300, d=40)
    shuffled = dataclasses.replace(examples, labels=np.random.default_rng(1).permutation(examples.labels))
    assert accuracy(examples, folds_of(300), QUICK) > 0.95
    assert 0.2 < accuracy(shuffled, folds_of(300), QUICK) < 0.47  # a third, and four standard errors


def test_nothing_of_the_held_out_rows_reaches_the_training():
    examples = blobs()
    train, held = np.arange(0, 90), np.arange(90, 120)
    poisoned = examples.matrix.copy()
    poisoned[held[1:]] = 1e4
    labels = examples.labels.copy()
    labels[held] = 0
    clean = fold_logits(examples, train, held[:1], QUICK)
    other = fold_logits(Examples(poisoned, labels, 3), train, held[:1], QUICK)
    np.testing.assert_array_equal(clean.logits, other.logits)


def test_a_trace_says_what_happened():
    trace = fold_logits(blobs(), np.arange(100), np.arange(100, 120), dataclasses.replace(QUICK, checkpoints=5))
    assert trace.epochs == (3, 5, 8, 10, 12) and trace.logits.shape == (5, 20, 3)
    assert trace.logits.dtype == np.float32 and np.isfinite(trace.logits).all()
    assert trace.steps == 12 * 2 and (np.diff(trace.seconds) > 0).all() and len(trace.seconds) == 5
    few = dataclasses.replace(QUICK, epochs=2, checkpoints=5)
    assert few.recorded == (1, 2)


def test_the_checkpoint_of_an_epoch_is_the_head_that_stops_there():
    """What a race saw after 6 of 12 epochs can be trained again on all rows."""
    examples = blobs()
    rows = np.arange(120)
    trace = fold_logits(examples, rows, rows, dataclasses.replace(QUICK, checkpoints=2))
    stopped = train_layers(examples, dataclasses.replace(QUICK, stop_after=6))
    assert trace.epochs == (6, 12)
    np.testing.assert_array_equal(stopped.logits(examples.matrix), trace.logits[0])


def test_every_unit_of_the_folds_is_run_once():
    folds = np.array([[0, 0, 1, 1, -1, -1] * 20, [0, 1, 2, 0, 1, 2] * 20])
    found = layers_out_of_fold(blobs(), folds, dataclasses.replace(QUICK, epochs=1))
    assert sorted(found) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    np.testing.assert_array_equal(found[0, 1].rows, np.flatnonzero(folds[0] == 1))


@pytest.mark.parametrize("n", [2, 3, 5, 6, 17, 33, 65])
@pytest.mark.parametrize("batch", [2, 16, 32])
def test_no_number_of_rows_leaves_a_batch_of_one(n, batch):
    options = dataclasses.replace(QUICK, epochs=2, batch=batch)
    head = train_layers(blobs(n, k=2), options)
    assert np.isfinite(head.logits(blobs(n, k=2).matrix)).all()


def test_many_classes_with_three_pictures_each():
    examples = blobs(300, d=64, k=100, distance=6.0)
    options = dataclasses.replace(QUICK, hidden=(64,), epochs=20)
    assert accuracy(examples, np.arange(300)[None] // 100, options) > 0.8


def test_a_class_that_a_training_side_lacks_does_no_harm():
    trace = fold_logits(blobs(), np.flatnonzero(blobs().labels != 2), np.flatnonzero(blobs().labels == 2), QUICK)
    assert trace.logits.shape[2] == 3 and np.isfinite(trace.logits).all()


def test_a_constant_column_weighs_nothing_afterwards():
    examples = blobs()
    flat = np.c_[examples.matrix, np.full(120, 3.25)].astype(np.float16)
    head = train_layers(Examples(flat, examples.labels, 3), QUICK)
    other = flat.copy()
    other[:, -1] = 500
    np.testing.assert_array_equal(head.logits(flat), head.logits(other))


def test_factors_stretch_the_standardised_columns():
    examples = blobs()
    head = train_layers(dataclasses.replace(examples, factors=np.array([1e-3] * 7 + [2.0])), QUICK)
    plain = train_layers(examples, QUICK)
    np.testing.assert_allclose(head.scale * np.array([1e-3] * 7 + [2.0]), plain.scale)
    muted = examples.matrix.copy()
    muted[:, :7] = muted[::-1, :7]
    gone = np.abs(head.logits(muted) - head.logits(examples.matrix)).max()
    assert gone < 0.05 * np.abs(plain.logits(muted) - plain.logits(examples.matrix)).max()


def test_a_loss_that_is_no_number_is_told():
    with pytest.raises(FloatingPointError, match="the loss became NaN"):
        train_layers(blobs(), dataclasses.replace(QUICK, learning_rate=1e30))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_weights_that_the_very_last_step_ruined_are_told(monkeypatch, value):
    def ruin(self, rate):
        for tensor, *_ in self._all:
            tensor.data.fill_(value)

    monkeypatch.setattr(AdamW, "step", ruin)
    last_step = dataclasses.replace(QUICK, epochs=1, batch=200)
    with pytest.raises(FloatingPointError, match="the loss became NaN"):
        fold_logits(blobs(), np.arange(120), np.arange(120), last_step)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": ()}, {"hidden": (0,)}, {"hidden": (4,) * 9}, {"dropout": 1.0}, {"dropout": -0.1}, {"epochs": 0},
        {"batch": 1}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"checkpoints": 0}, {"stop_after": 0},
    ],
)  # fmt: skip
def test_senseless_options_are_refused(change):
    with pytest.raises(ValueError):
        dataclasses.replace(QUICK, **change)


def test_senseless_examples_are_refused():
    X = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="labels must lie"):
        Examples(X, np.array([0, 1, 2, 1]), 2)
    with pytest.raises(ValueError, match="need 4 labels"):
        Examples(X, np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="factors"):
        Examples(X, np.array([0, 1, 0, 1]), 2, np.ones(2))
    with pytest.raises(ValueError, match="two training rows"):
        train_layers(Examples(X[:1], np.array([0]), 2), QUICK)
    with pytest.raises(ValueError, match="not finite"):
        train_layers(Examples(np.full((4, 3), np.nan, np.float32), np.array([0, 1, 0, 1]), 2), QUICK)
