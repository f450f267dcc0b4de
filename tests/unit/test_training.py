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
