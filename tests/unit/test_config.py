"""FitConfig: unknown keys and values are refused; it survives JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.config import FitConfig
from headstart.errors import UsageError


def test_round_trip() -> None:
    config = FitConfig(Path("runs/x"), train="head", seed=7)
    assert FitConfig.from_json(config.to_json()) == config


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UsageError, match="epochs"):
        FitConfig.from_json({"out": "x", "epochs": 3})


@pytest.mark.parametrize("wrong", [{"train": "everything"}, {"seed": -1}, {"seed": 2**32}, {"when_exists": "delete"}])
def test_wrong_values_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        FitConfig(Path("x"), **wrong)
