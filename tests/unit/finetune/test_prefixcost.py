"""The predicted cost of the cache follows from what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.finetune.prefixcost import PrefixCost, measure_prefix
from headstart.finetune.views import draw_views


def test_one_pass_up_to_the_deepest_cut_serves_all() -> None:
    cost = PrefixCost(decode=0.004, view=0.002, engine={5: 0.01, 6: 0.02}, start={5: 1.0, 6: 2.0}, cores=2)
    assert cost.seconds(100, (0, 5, 6), 1) == pytest.approx(0.2 + 2.0 + 2.0)
    assert cost.seconds(100, (5,), 3) == pytest.approx(0.4 + 1.0 + 3.0)
    assert cost.seconds(100, (0,), 3) == pytest.approx(0.4)


def test_measured_on_pictures(tiny_backbone: Any, pictures: list[Path]) -> None:
    cost = measure_prefix(pictures, tiny_backbone, (0, 1, 2), draw_views(2), seconds=0.05)
    assert set(cost.engine) == set(cost.start) == {1, 2}
    assert min(cost.decode, cost.view, *cost.engine.values(), *cost.start.values()) > 0
