"""FitConfig: unknown keys and values are refused; it survives JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.config import FitConfig, seconds_of
from headstart.errors import UsageError


def test_round_trip() -> None:
    config = FitConfig(Path("runs/x"), train="head", seed=7)
    assert FitConfig.from_json(config.to_json()) == config


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UsageError, match="epochs"):
        FitConfig.from_json({"out": "x", "epochs": 3})


@pytest.mark.parametrize(
    "wrong", [{"train": "everything"}, {"seed": -1}, {"seed": 2**32}, {"when_exists": "delete"}, {"budget": 0.0}]
)
def test_wrong_values_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        FitConfig(Path("x"), **wrong)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1.5 m", 90), ("45", 45), (7, 7)]
)
def test_budgets(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 minutes", "1e3"])
def test_budgets_that_say_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="30s, 5m or 2h"):
        seconds_of(text)
