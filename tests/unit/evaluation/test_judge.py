"""judge: the figures that are shown are those of the predictions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headstart.evaluation.judge import judge
from headstart.predictions import Predictions


def test_figures_by_hand() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]]))
    judged = judge(Predictions(logits, np.array([0, 1, 1, 0]), ("a", "b", "c", "d"), ("x", "y", "z")))
    assert judged.top1 == 0.75
    assert judged.balanced == 0.75
    assert judged.baseline == 0.5
    assert judged.recall[:2] == (1.0, 0.5)
    assert math.isnan(judged.recall[2])
    assert judged.support == (2, 2, 0)
    assert judged.nll == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.5]).mean())
    assert judged.low < 0.75 < judged.high


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 25)
    right = np.repeat(rng.random(20) < 0.7, 25)
    labels = np.zeros(500, int)
    logits = np.where(right, 1.0, -1.0)[:, None] * np.array([[1.0, -1.0]])
    predictions = Predictions(logits, labels, tuple(map(str, range(500))), ("x", "y"))
    alone, together = judge(predictions), judge(predictions, groups=groups)
    assert together.high - together.low > 2 * (alone.high - alone.low)
