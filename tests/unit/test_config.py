"""FitConfig: unknown keys and values are refused; it survives JSON."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from headstart.config import FitConfig, seconds_of, steps_of, widths_of
from headstart.errors import UsageError


def test_round_trip() -> None:
    for config in (
        FitConfig(Path("runs/x"), train="last-2", seed=7, budget=30.0),
        FitConfig(Path("runs/x"), train="extra", extra_layers=(256, 64), steps=400),
        FitConfig(Path("runs/x"), on="ray://head:10001", memory=10**9),
    ):
        assert FitConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(UsageError, match="epochs"):
        FitConfig.from_json({"out": "x", "epochs": 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"train": "everything"},
        {"train": "last-0"},
        {"on": "moon"},
        {"on": "rays"},
        {"train": "last-"},
        {"train": "last-100"},
        {"seed": -1},
        {"seed": 2**32},
        {"when_exists": "delete"},
        {"budget": 0.0},
        {"budget": float("inf")},
        {"budget": float("nan")},
        {"steps": 0},
        {"extra_layers": (0,)},
        {"extra_layers": (8193,)},
        {"extra_layers": (8,) * 9},
        {"extra_layers": (8,), "train": "last-1"},
        {"extra_layers": (8,), "train": "head"},
    ],
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


@pytest.mark.parametrize("train", ["auto", "head", "extra", "norms", "last-1", "last-12", "all", "scratch"])
def test_amounts(train: str) -> None:
    assert FitConfig(Path("x"), train=train).train == train


def test_a_budget_in_steps() -> None:
    assert [steps_of(text) for text in ("400steps", "1 step", "30s", "400", 400)] == [400, 1, None, None, None]
    assert seconds_of("400steps") > 0, "time is not what ends such a race"


def test_widths() -> None:
    assert [widths_of(text) for text in ("256,64", " 8 ", "", None)] == [(256, 64), (8,), (), ()]


@pytest.mark.parametrize("text", ["wide", "256,,64", "256;64", "-5", "1.5", "²"])
def test_widths_that_say_nothing(text: str) -> None:
    with pytest.raises(UsageError, match="256,64"):
        widths_of(text)


def test_the_command_asks_for_the_same_again(tmp_path: Path) -> None:
    asked = FitConfig(tmp_path / "my run", "extra", budget=90, extra_layers=(64, 8), seed=3, data=tmp_path / "a b")
    words = shlex.split(asked.command() or "")
    assert words[:3] == ["headstart", "fit", str(tmp_path / "a b")]
    options = dict(zip(words[3:-1:2], words[4:-1:2], strict=True))
    assert options == {
        "--out": str(tmp_path / "my run"), "--train": "extra", "--backbone": "auto", "--budget": "90s", "--seed": "3",
        "--extra-layers": "64,8",
    }  # fmt: skip
    assert words[-1] == "--overwrite" and FitConfig(tmp_path).command() is None
    assert "--on local" in (FitConfig(tmp_path, on="local", data=tmp_path).command() or "")
    assert "7steps" in (FitConfig(tmp_path, steps=7, data=tmp_path).command() or "")
