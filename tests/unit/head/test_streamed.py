"""Streamed heads: the same coefficients as in memory, held-out rows never seen, and no more memory than a block."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from headstart.head.columns import columns_of
from headstart.head.ridge import KINDS, DepthSet, Grid, cross_validate, fit_closed
from headstart.head.streamed import Block, Variant, held_out, stacked, sums_by_fold
from headstart.head.streamed_logistic import batch_rows, fit_streamed_logistic

DIMS, K, FOLDS = (6, 10), 4, 5
BOTH = DepthSet((0, 1), (1.3, 0.8))
PENALTIES = (1.0, 0.1, 0.003)


def world(n, seed=0, spread=1.0):
    """Correlated features of two depths with an offset, sorted by class as a folder of classes is."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, K, n))
    centres = np.random.default_rng(77).normal(size=(K, sum(DIMS))) * spread
    mix = np.random.default_rng(78).normal(size=(sum(DIMS), sum(DIMS))) / 4
    X = (centres[labels] + rng.normal(size=(n, sum(DIMS)))) @ (np.eye(sum(DIMS)) + mix) + 3.0
    X = X.astype(np.float16)
    return (X[:, : DIMS[0]], X[:, DIMS[0] :]), labels, rng.integers(0, FOLDS, n)


def blocks_of(matrices, labels, folds, size=257, order=None):
    order = np.arange(len(labels)) if order is None else order
    whole = Block(tuple(matrices), labels, folds, np.arange(len(labels)))
    for start in range(0, len(order), size):
        yield whole.take(order[start : start + size])


def sums_of_world(matrices, labels, folds):
    frame = columns_of([m[::7] for m in matrices])
    return sums_by_fold(blocks_of(matrices, labels, folds), frame, K, FOLDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth_set", [BOTH, DepthSet((1,), (1.0,))])
def test_the_same_coefficients_as_in_memory(kind, depth_set):
    matrices, labels, folds = world(1500)
    sums = sums_of_world(matrices, labels, folds)
    columns = columns_of([matrices[i] for i in depth_set.depths])
    factors = np.repeat(depth_set.factors, [DIMS[i] for i in depth_set.depths])
    for penalty in PENALTIES:
        wanted = fit_closed(columns, labels, K, factors, kind, penalty).folded()
        found = stacked(sums, sums.training(None), depth_set, [Variant(kind, penalty)]).folded()
        for one, other in zip(found, wanted, strict=True):
            assert np.abs(one - other).max() <= 1e-6 * max(1.0, np.abs(other).max())


def test_the_same_held_out_logits_as_in_memory():
    matrices, labels, folds = world(900)
    wanted = {}

    def receive(_set, kind, at, held, logits):
        wanted.setdefault((kind, at), np.full((len(labels), K), np.nan))[held] = logits

    cross_validate(columns_of(matrices), [BOTH], labels, K, folds, ([Grid(PENALTIES)], receive))
    sums = sums_of_world(matrices, labels, folds)
    variants = [Variant(kind, p) for kind in KINDS for p in PENALTIES]
    heads = [stacked(sums, sums.training(fold), BOTH, variants) for fold in range(FOLDS)]
    for block in blocks_of(matrices, labels, folds):
        logits = held_out(block, heads, BOTH.depths).reshape(len(block), len(variants), K)
        for v, variant in enumerate(variants):
            one = wanted[variant.kind, PENALTIES.index(variant.penalty)][block.rows]
            assert np.allclose(logits[:, v], one, atol=2e-4 * np.abs(one).max())


def test_a_fold_is_judged_by_a_head_that_never_saw_it():
    """Labels of one fold changed: its own held-out logits stay, those of the others move."""
    matrices, labels, folds = world(800)
    changed = np.where(folds == 2, (labels + 1) % K, labels)
    out = []
    for targets in (labels, changed):
        sums = sums_of_world(matrices, targets, folds)
        heads = [stacked(sums, sums.training(f), BOTH, [Variant("ridge", 0.1)]) for f in range(FOLDS)]
        whole = Block(matrices, targets, folds, np.arange(len(labels)))
        out.append(held_out(whole, heads, BOTH.depths))
    same = np.abs(out[0] - out[1]).max(axis=1) < 1e-6
    assert same[folds == 2].all() and not same[folds != 2].any()


def logistic(matrices, labels, folds, penalties, seed=1):
    sums = sums_of_world(matrices, labels, folds)
    variant = [Variant("ridge", 0.1)]
    start = [stacked(sums, sums.training(f), BOTH, variant) for f in [*range(FOLDS), None]]
    rng = np.random.default_rng(seed)

    def shuffled(epoch, rows):
        return blocks_of(matrices, labels, folds, rows, rng.permutation(len(labels)))

    return fit_streamed_logistic(shuffled, sums, BOTH, start, penalties)


def test_logistic_regression_like_scikit_learn():
    matrices, labels, folds = world(12_000, spread=0.35)
    found = logistic(matrices, labels, folds, (1e-2, 1e-3))
    tests, truth, _ = world(20_000, seed=9, spread=0.35)
    X, T = (np.concatenate(m, axis=1).astype(np.float64) for m in (matrices, tests))
    mean, scale = X.mean(axis=0), X.std(axis=0)
    oracle = LogisticRegression(C=1 / (len(X) * found.penalty), max_iter=500).fit((X - mean) / scale, labels)
    wanted = oracle.predict_log_proba((T - mean) / scale)
    logits = found.final.logits(T)
    assert abs((logits.argmax(1) == truth).mean() - (wanted.argmax(1) == truth).mean()) <= 0.005
    log_loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(T)), truth]
    assert log_loss.mean() <= -wanted[np.arange(len(T)), truth].mean() + 0.005
    assert found.gained and found.epochs < 20, "ridge scores are no probabilities, and it must end by itself"


def test_logistic_held_out_loss_is_that_of_its_heads():
    matrices, labels, folds = world(6000, spread=0.3)
    found = logistic(matrices, labels, folds, (1e-3,))
    whole = Block(matrices, labels, folds, np.arange(len(labels)))
    logits = held_out(whole, found.heads, BOTH.depths).astype(np.float64)
    loss = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    assert abs(loss.mean() - found.nll) < 1e-4
    noise = np.random.default_rng(3).permutation(labels)
    chance = logistic(matrices, noise, folds, (1e-3,))
    right = held_out(whole, chance.heads, BOTH.depths).argmax(1) == noise
    assert abs(right.mean() - 1 / K) < 0.03, "shuffled labels are judged at chance"


def test_memory_is_that_of_a_block():
    """40,000 rows are made block by block; all of them at once would be 38 MB."""
    d, rows, count = 240, 1000, 40

    def made():
        for i in range(count):
            rng = np.random.default_rng(i)
            X = rng.normal(size=(rows, d)).astype(np.float16)
            yield Block((X,), rng.integers(0, 2, rows), rng.integers(0, 2, rows), np.arange(rows) + i * rows)

    frame = columns_of(next(made()).matrices)
    tracemalloc.start()
    sums = sums_by_fold(made(), frame, 2, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sums.n == rows * count
    assert peak < 0.35 * (2 * d * rows * count), f"{peak / 1e6:.1f} MB"


def test_mini_batches():
    assert (batch_rows(100), batch_rows(64_000), batch_rows(10**7)) == (512, 2000, 4096)
