"""A flip that makes another class of a picture is refused; one that does not is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.finetune.flips import FlipProbe, judge, label_keeping_flips, spread_rows
from tiny import SIDE, nearest_mean_head, tiny_features

N = 80


def slopes(labels: np.ndarray) -> list[np.ndarray]:
    """Brighter to the right (0) or to the left (1), everywhere equal from top to bottom, with noise."""
    rng = np.random.default_rng(2)
    ramp = np.linspace(40, 210, SIDE)[None, :, None] * np.ones((SIDE, 1, 3))
    noisy = [(ramp[:, :: 1 - 2 * label] + rng.normal(0, 12, ramp.shape)).clip(0, 255) for label in labels]
    return [picture.astype(np.uint8) for picture in noisy]


def greys(labels: np.ndarray) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(90 + 70 * label, 20, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8) for label in labels]


def probe_of(pictures: list[np.ndarray], labels: np.ndarray) -> FlipProbe:
    features = tiny_features(np.stack(pictures))
    vectors = np.concatenate([features["block0"], features["block1"]], axis=1)
    fold = np.arange(N) // 2 % 2
    heads = [nearest_mean_head(vectors[fold != f], labels[fold != f], 2) for f in (0, 1)]

    def predict(rows: np.ndarray, given: np.ndarray) -> np.ndarray:
        return np.stack([heads[fold[row]].logits(vector[None])[0] for row, vector in zip(rows, given, strict=True)])

    return FlipProbe(pictures, labels, vectors, (0, 1), predict)


def test_where_the_direction_is_the_label_its_flip_is_refused(tiny_backbone: Any) -> None:
    labels = np.arange(N) % 2
    found = {v.flip: v for v in label_keeping_flips(probe_of(slopes(labels), labels), tiny_backbone, most=40)}
    assert not found["horizontal"].kept and found["horizontal"].drop > 0.5
    assert not found["both"].kept
    assert found["vertical"].kept and abs(found["vertical"].drop) < 0.1


def test_where_direction_says_nothing_all_flips_are_kept(tiny_backbone: Any) -> None:
    labels = np.arange(N) % 2
    found = label_keeping_flips(probe_of(greys(labels), labels), tiny_backbone)
    assert [v.flip for v in found if v.kept] == ["horizontal", "vertical", "both"]
    assert found[0].pictures == N


def test_few_pictures_of_one_class_suffer_and_it_shows() -> None:
    """One class of ten becomes another: accuracy falls by a tenth only."""
    labels = np.arange(250) % 10
    before = 5.0 * np.eye(10)[labels] + np.random.default_rng(0).normal(size=(250, 10))
    after = before.copy()
    after[labels == 2] = 5.0 * np.eye(10)[5]
    assert not judge("horizontal", before, after, labels).kept
    assert judge("horizontal", before, before + np.random.default_rng(1).normal(0, 0.1, (250, 10)), labels).kept


def test_a_loss_of_certainty_alone_is_enough() -> None:
    """Mirrored digits often stay the most probable class: accuracy alone does not show it."""
    labels = np.arange(250) % 10
    found = judge("horizontal", 3.0 * np.eye(10)[labels], 2.5 * np.eye(10)[labels], labels)
    assert found.drop == 0 and not found.kept


@pytest.mark.parametrize("most", [30, 77, 1000])
def test_rows_are_spread_over_classes_and_repeatable(most: int) -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 150])
    rows = spread_rows(labels, most, seed=1)
    assert len(set(rows.tolist())) == len(rows) == min(most, 300) and (np.diff(rows) > 0).all()
    share = np.bincount(labels[rows]) / len(rows)
    np.testing.assert_allclose(share, [1 / 3, 1 / 6, 1 / 2], atol=1.5 / len(rows))
    np.testing.assert_array_equal(rows, spread_rows(labels, most, seed=1))
    assert set(spread_rows(labels, most, 1, np.arange(90)).tolist()) <= set(range(90))
