"""Odd pictures are reported when they go with mistakes, and only then."""

from __future__ import annotations

import numpy as np
import pytest

from headstart import predictions
from headstart.evaluation.quality import (
    Outcome,
    Trait,
    blank,
    brightness,
    goes_with,
    light_and_size,
    odd_by,
    oddities,
)

N = 300
LABELS = np.arange(N) % 3
DARK = np.zeros(N, bool)
DARK[:24] = True


def light(odd: float = 20.0, rest: float = 130.0) -> np.ndarray:
    return np.where(DARK, odd, rest) + np.random.default_rng(0).normal(0, 12, N)


def outcome(wrong_if_dark: float, wrong_else: float = 0.08, seed: int = 1) -> Outcome:
    wrong = np.random.default_rng(seed).random(N) < np.where(DARK, wrong_if_dark, wrong_else)
    return Outcome(wrong, np.ones(N, bool), LABELS)


def dark(values: np.ndarray) -> Trait:
    return Trait("dark", values, -1, 20.0, (70.0, np.inf))


def test_dark_pictures_that_are_wrong_more_often_are_reported() -> None:
    happened = outcome(0.6)
    (found,) = oddities([(dark(light()), happened)])
    assert found.code == "dark"
    assert set(found.rows.tolist()) == set(np.flatnonzero(DARK).tolist())
    assert happened.wrong[found.rows[: found.wrong]].all() and not happened.wrong[found.rows[found.wrong :]].any()
    assert found.share == pytest.approx(happened.wrong[DARK].mean())
    assert found.rest == pytest.approx(happened.wrong[~DARK].mean())
    assert found.p < 0.001


def test_dark_pictures_that_are_as_often_right_are_not() -> None:
    assert oddities([(dark(light()), outcome(0.08))]) == ()


def test_a_dark_class_that_is_hard_is_not_accused_of_being_dark() -> None:
    labels = np.where(DARK | (np.arange(N) < 48), 3, LABELS)
    wrong = np.random.default_rng(2).random(N) < np.where(labels == 3, 0.6, 0.05)
    assert oddities([(dark(light()), Outcome(wrong, np.ones(N, bool), LABELS))]) != ()
    assert oddities([(dark(light()), Outcome(wrong, np.ones(N, bool), labels))]) == ()


def test_an_even_set_has_no_odd_pictures() -> None:
    values = np.random.default_rng(3).normal(130, 12, N)
    assert oddities([(dark(values), outcome(0.6))]) == ()
    assert np.isnan(odd_by(dark(np.full(N, 130.0)), LABELS)).all()


def test_chance_alone_is_seldom_reported() -> None:
    """Eight traits that mean nothing, 200 times: about 5 % of the sets may say something."""
    rng, said = np.random.default_rng(4), 0
    for _ in range(200):
        wrong = Outcome(rng.random(N) < 0.2, np.ones(N, bool), LABELS)
        said += bool(oddities([(Trait("odd_size", rng.standard_t(2, N), 0, 0.1), wrong) for _ in range(8)]))
    assert said <= 20


def test_the_exact_test_by_hand() -> None:
    """Two of two odd pictures wrong, of six with three wrong: 3 of the 15 ways to choose the odd ones."""
    odd = np.array([True, True, False, False, False, False])
    wrong = np.array([True, True, True, False, False, False])
    assert goes_with(odd, wrong, np.zeros(6, int)) == pytest.approx(3 / 15)
    twice = [np.tile(a, 2) for a in (odd, wrong)]
    assert goes_with(*twice, np.repeat([0, 1], 6)) == pytest.approx((3 / 15) ** 2)
    assert goes_with(odd, ~wrong, np.zeros(6, int)) == pytest.approx(1.0)


def test_what_was_never_judged_or_measured_does_not_count() -> None:
    values = light()
    values[:4] = np.nan
    happened = outcome(0.6)
    known = np.ones(N, bool)
    known[4:8] = False
    (found,) = oddities([(dark(values), Outcome(happened.wrong, known, LABELS))])
    assert set(found.rows.tolist()) == set(range(8, 24))
    assert oddities([(dark(np.full(N, np.nan)), happened)]) == ()


def test_weights_give_the_shares_of_the_whole() -> None:
    happened = outcome(0.6)
    weights = np.where(happened.wrong, 1.0, 10.0)
    (found,) = oddities([(dark(light()), Outcome(happened.wrong, happened.known, LABELS, weights))])
    wrong, right = (happened.wrong & DARK).sum(), (~happened.wrong & DARK).sum()
    assert found.share == pytest.approx(wrong / (wrong + 10 * right))


def test_light_size_and_shape_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = np.full((40, 32, 32), 128, np.uint8)
    thumbnails[:, ::2] = 140
    thumbnails[0], thumbnails[1] = 10, 250
    sizes = np.tile([400, 300], (40, 1))
    sizes[2], sizes[3] = (40, 30), (1200, 100)
    odd = {
        t.code: np.flatnonzero(np.isfinite(odd_by(t, np.zeros(40, int)))).tolist()
        for t in light_and_size(brightness(thumbnails), sizes)
    }
    assert odd == {"dark": [0], "bright": [1], "odd_size": [2], "odd_shape": [3]}
    assert brightness(thumbnails)[0] == 10.0
    assert np.flatnonzero(blank(thumbnails)).tolist() == [0, 1]
    monkeypatch.setattr(predictions, "MOST_CELLS", 3 * 1024)  # in pieces
    assert np.flatnonzero(blank(thumbnails[::-1])).tolist() == [38, 39] and blank(thumbnails[:0]).tolist() == []


def test_no_pictures_are_not_odd() -> None:
    nothing = Outcome(np.zeros(0, bool), np.zeros(0, bool), np.zeros(0, int))
    traits = light_and_size(brightness(np.zeros((0, 32, 32), np.uint8)), np.zeros((0, 2), np.int32))
    assert oddities([(trait, nothing) for trait in traits]) == ()
