"""Where fine-tuning starts: a head that never saw what it will judge, and reads the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from headstart.evaluation.metrics import nll
from headstart.head.linear import LinearHead
from headstart.howmuch import start
from headstart.howmuch.candidates import Candidate
from headstart.howmuch.probe import out_of_fold
from headstart.howmuch.start import StartHeads, fresh_head, start_candidate

N, K = 48, 3
LABELS = np.arange(N) % K


def candidate(depths: tuple[int, ...], nll: float = 1.0, kind: str = "ridge", temperature: float = 2.0) -> Candidate:
    dims = tuple(4 + 2 * d for d in depths)
    names = tuple(f"block{d}" for d in depths)
    figures = {"top1": 0.5, "nll": nll, "low": 0.0, "high": 1.0, "seconds": 0.0}
    return Candidate(depths, names, dims, (1.0,) * len(depths), kind, 0.1, temperature, **figures)


def matrices(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = [rng.normal(1.0, 2.0, (N, 4 + 2 * d)) for d in range(3)]
    found[2][:, :K] += 6 * np.eye(K)[LABELS]
    return [m.astype(np.float16) for m in found]


def folds(repeats: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    found = np.stack([rng.permutation(np.arange(N) % 4) for _ in range(repeats)])
    found[:, :2] = -1
    return found


def heads(which: Candidate, values: Sequence[np.ndarray] | None = None, labels: np.ndarray = LABELS) -> StartHeads:
    return StartHeads(which, values or matrices(), labels, K, folds())


def same(first: LinearHead, second: LinearHead) -> bool:
    return all(np.array_equal(getattr(first, f), getattr(second, f)) for f in ("weights", "bias", "mean", "scale"))


def test_the_likeliest_head_that_reads_the_last_layer() -> None:
    found = [candidate((1,), 0.1), candidate((2,), 0.5), candidate((0, 2), 0.3), candidate((0, 1), 0.2)]
    assert start_candidate(found, last=2) is found[2]


@pytest.mark.parametrize("kind", ["ridge", "lda", "logistic"])
def test_heads_of_folds_are_those_of_cross_validation(kind: str) -> None:
    which = candidate((0, 2), kind=kind)
    made, own = heads(which), [matrices()[0], matrices()[2]]
    X = np.concatenate(own, axis=1)
    for repeat, parts in enumerate(folds()):
        expected = out_of_fold(own, LABELS, K, parts, which)
        for fold in range(4):
            held = parts == fold
            found = made.of((repeat, fold)).logits(X[held])
            np.testing.assert_allclose(found, expected[held], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_what_is_held_out_has_no_say(kind: str) -> None:
    held = folds()[1] == 2
    values, labels = matrices(), LABELS.copy()
    for matrix in values:
        matrix[held] *= 3
    labels[held] = (labels[held] + 1) % K
    first = heads(candidate((2,), kind=kind)).of((1, 2))
    second = heads(candidate((2,), kind=kind), values, labels).of((1, 2))
    X = matrices()[2]
    np.testing.assert_allclose(first.logits(X), second.logits(X), rtol=1e-3, atol=1e-3)
    assert not np.allclose(
        heads(candidate((2,), kind=kind)).of((1, 1)).logits(X),
        heads(candidate((2,), kind=kind), values, labels).of((1, 1)).logits(X),
        atol=0.01,
    )


def test_the_head_on_everything_is_cooled() -> None:
    warm, cool = (heads(candidate((2,), temperature=t)).of(None) for t in (1.0, 4.0))
    X = matrices()[2]
    np.testing.assert_allclose(cool.logits(X) * 4, warm.logits(X), rtol=1e-5, atol=1e-5)
    assert np.mean(warm.logits(X).argmax(1) == LABELS) > 0.8


def loss_on_own_rows(made: StartHeads, unit: tuple[int, int] | None, head: LinearHead) -> float:
    rows = slice(None) if unit is None else folds()[unit[0]] != unit[1]
    return nll(head.logits(matrices()[2][rows]), LABELS[rows])


@pytest.mark.parametrize("unit", [None, (0, 1), (1, 3)])
def test_training_begins_as_unsure_of_known_pictures_as_of_new_ones(unit: tuple[int, int] | None) -> None:
    made = heads(candidate((2,), nll=0.7, temperature=0.2))
    sure, soft = made.of(unit), made.softened(unit)
    assert loss_on_own_rows(made, unit, sure) < 0.5
    assert loss_on_own_rows(made, unit, soft) == pytest.approx(0.7, abs=1e-3)
    X = matrices()[2]
    assert np.array_equal(soft.logits(X).argmax(1), sure.logits(X).argmax(1))


def test_softening_does_not_ask_what_is_held_out() -> None:
    values, labels = matrices(), LABELS.copy()
    held = folds()[1] == 2
    values[2][held] *= 3
    labels[held] = (labels[held] + 1) % K
    which = candidate((2,), nll=0.7, temperature=0.2)
    first, second = heads(which).softened((1, 2)), heads(which, values, labels).softened((1, 2))
    np.testing.assert_allclose(first.logits(matrices()[2]), second.logits(matrices()[2]), rtol=1e-3, atol=1e-3)


def test_a_head_that_is_unsure_enough_stays_as_it_is() -> None:
    made = heads(candidate((2,), nll=0.01))
    assert same(made.softened(None), made.of(None))


def test_a_head_no_better_than_guessing_is_not_cooled_to_nothing() -> None:
    made = heads(candidate((2,), nll=5.0))
    X = matrices()[2]
    np.testing.assert_allclose(made.softened(None).logits(X) * 10, made.of(None).logits(X), rtol=1e-3, atol=1e-4)


def test_each_head_is_fitted_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Any] = []
    fit_head = start.fit_head

    def counted(*given: Any) -> LinearHead:
        fitted.append(given)
        return fit_head(*given)

    monkeypatch.setattr(start, "fit_head", counted)
    made = heads(candidate((2,)))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(made.of, [(0, 1), (0, 1), (1, 1), None, None, (0, 1)]))
    assert len(fitted) == 3
    assert found[0] is found[1] is found[5]
    assert not same(found[0], found[2])


def test_a_fresh_head_leads_and_says_nothing_yet() -> None:
    like = heads(candidate((2,))).of(None)
    fresh = fresh_head(like, 3)
    assert same(fresh, fresh_head(like, 3))
    assert not same(fresh, fresh_head(like, 4))
    assert np.array_equal(fresh.mean, like.mean)
    assert np.array_equal(fresh.scale, like.scale)
    assert fresh.weights.shape == like.weights.shape
    assert 0 < np.abs(fresh.logits(matrices()[2])).max() < 0.1
