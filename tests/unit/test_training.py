"""How an arm is trained follows from the facts that are known before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstart.howmuch.arm import Arm
from headstart.training import Trainer


def trainer(similarity: str) -> Trainer:
    ground: Any = SimpleNamespace(material=SimpleNamespace(learn=np.arange(100)), seed=3)
    return Trainer(ground, {"last-2": "bf16"}, print, similarity)


@pytest.mark.parametrize(("similarity", "decay"), [("near", 0.4), ("middle", 0.6), ("far", 0.8)])
def test_lower_stages_follow_the_similarity(similarity: str, decay: float) -> None:
    recipe = trainer(similarity).recipe(Arm("last-2", 0.01), 80)
    assert (recipe.layer_decay, recipe.learning_rate, recipe.precision) == (decay, 0.01, "bf16")


def test_random_weights_are_near_to_nothing() -> None:
    assert trainer("near").recipe(Arm("scratch", 0.01), 80).layer_decay == 0.8


def test_what_is_kept_is_the_fold_that_gained_most_over_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the last one; and what counts is the log-loss beside the head's on the same pictures, not the loss alone."""
    labels, folds = np.zeros(6, np.int64), np.repeat([0, 1, 2], 2)
    head = np.array([[2.0, 0], [2, 0], [0, 0], [0, 0], [4, 0], [4, 0]])  # the last fold is easy for the head
    sure = {0: 2.5, 1: 2.0, 2: 3.5}  # what training makes of them: +0.05, +0.57, -0.01 nats
    material = SimpleNamespace(learn=np.arange(6), labels=labels)
    ground: Any = SimpleNamespace(
        material=material, seed=3, n_classes=2, found=SimpleNamespace(logits=head), split=SimpleNamespace(folds=[folds])
    )
    taught = Trainer(ground, {}, print, keep=frozenset(["last-1"]))

    released: list[int] = []

    def training(_arm: Arm, unit: tuple[int, int], *_: object) -> Any:
        logits = np.tile(np.array([sure[unit[1]], 0.0]), (1, 2, 1))
        course = SimpleNamespace(logits=logits, seconds=np.ones(1), steps=1, blend=None)
        tail, done = SimpleNamespace(zero_grad=lambda **_: None), taught.most_epochs - (unit[1] == 0)

        def release() -> None:
            released.append(unit[1])

        return SimpleNamespace(further=lambda _: course, tail=tail, epochs=done, release=release)

    monkeypatch.setattr(taught, "_training", training)
    for arm in (Arm("last-1", 0.01), Arm("last-2", 0.01)):
        gains = []
        for fold in range(3):
            assert taught.unit(arm, 0, fold).rows.tolist() == np.flatnonzero(folds == fold).tolist()
            gains.append(taught.kept[arm.key].held.tolist() if taught.keeps(arm) else None)
        assert released == [1], "fold 0 may go on, fold 2 is not kept, last-2 neither"
        assert gains == ([[0, 1], [2, 3], [2, 3]] if arm.train == "last-1" else [None] * 3)
