"""An arm's score: rows, repeats, the best epoch or blend, and the order of arms."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.howmuch.arm import FoldResult
from headstart.howmuch.score import Version, ranked, score_of

LABELS = np.arange(60) % 3


def unit(rows, strengths, blend=None, scale=1.0, seed=0):
    """Logits that favour the truth by `strengths[e]` in epoch e."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(rows), 3))
    truth = np.eye(3)[LABELS[rows]]
    logits = scale * np.stack([noise + s * truth for s in strengths])
    half = None if blend is None else (scale * (noise + blend * truth)).astype(np.float32)
    return FoldResult(np.asarray(rows), logits.astype(np.float32), np.arange(1.0, 1 + len(strengths)), 5, half)


def test_the_epoch_of_lowest_loss_over_all_folds_is_chosen_and_confidence_does_not_matter():
    for scale in (1.0, 20.0):
        units = [unit(np.arange(0, 30), (1, 3, 1.5), scale=scale), unit(np.arange(30, 60), (1, 2.5, 2), scale=scale)]
        found = score_of(units, LABELS)
        assert found.version == Version(2)
        assert found.nll < 0.6
        np.testing.assert_array_equal(found.rows, np.arange(60))


def test_what_gained_after_some_epochs_only_is_no_version_before():
    units = [unit(np.arange(0, 30), (3, 1, 2, 1.5)), unit(np.arange(30, 60), (3, 1, 2, 1.5))]
    assert score_of(units, LABELS).version == Version(1)
    assert score_of(units, LABELS, first=2).version == Version(3)
    assert score_of(units, LABELS, first=9).version == Version(4), "what was trained for less is judged all the same"
    assert score_of(units, LABELS, first=2, last_only=True).versions == (Version(4),)


def test_the_blend_is_one_more_candidate_if_every_fold_has_one():
    units = [unit(np.arange(0, 30), (1, 2), blend=4), unit(np.arange(30, 60), (1, 2), blend=4, seed=1)]
    assert score_of(units, LABELS).version == Version(2, blend=True)
    assert score_of([units[0], unit(np.arange(30, 60), (1, 2))], LABELS).version == Version(2)


def test_repeats_are_averaged_row_by_row():
    right, wrong = unit(np.arange(30), (9,)), unit(np.arange(30), (-9,))
    found = score_of([right, wrong, unit(np.arange(30, 60), (9,))], LABELS)
    assert found.top1 == pytest.approx(0.75)
    assert found.logits.shape == (60, 3)
    np.testing.assert_allclose(found.correct[0, :30], 0.5)


def test_rows_in_any_order():
    mixed = np.random.default_rng(0).permutation(60)
    plain, shuffled = unit(mixed, (1, 3)), score_of([unit(mixed, (1, 3))], LABELS)
    at = np.flatnonzero(mixed == 17)[0]
    expected = plain.logits[1, at] / shuffled.temperatures[1]
    np.testing.assert_allclose(shuffled.logits[17], expected, rtol=1e-5)


def test_accuracy_ranks_and_log_loss_breaks_ties():
    clear, sharp, dull = (score_of([unit(np.arange(60), (s,), seed=i)], LABELS) for i, s in enumerate((6, 0.2, 0.0)))
    assert ranked([dull, sharp, clear])[0] == 2
    noise = unit(np.arange(60), (1.5,))
    wrong_twice = noise.logits.copy()
    wrong = np.flatnonzero(noise.logits[0].argmax(axis=1) != LABELS)
    wrong_twice[0, wrong] += 3 * np.eye(3)[noise.logits[0, wrong].argmax(axis=1)]
    worse = FoldResult(noise.rows, wrong_twice, noise.seconds, 5)
    assert ranked([score_of([worse], LABELS), score_of([noise], LABELS)]) == [1, 0]


def test_arms_are_compared_on_rows_that_all_judged():
    """The one that judged only easy rows is not better for it."""
    easy = unit(np.arange(20), (9,))
    easy.logits[0, :3] *= -1
    full = [unit(np.arange(20), (9.5,)), unit(np.arange(20, 60), (0,), seed=3)]
    few, many = score_of([easy], LABELS), score_of(full, LABELS)
    assert few.top1 > many.top1
    assert ranked([few, many]) == [1, 0]
