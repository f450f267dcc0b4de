"""A race that is stopped: by Ctrl-C it ends with the best that is finished, after a kill it goes on where it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import headstart
from hurry import CODE, timeless, units
from safetensors.numpy import load_file

from headstart import api, finish, training
from headstart.howmuch.arm import Arm, FoldResult

RACE = ("--train", "last-1", "--budget", "40steps", "--resume")
SLOW = CODE.replace("hurry.main(sys.argv[1:])", "hurry.main(sys.argv[1:], epochs=12)")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")


def started(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.DEVNULL)


def wait_for_units(run: Path, process: subprocess.Popen[bytes], count: int) -> None:
    end = time.monotonic() + 150
    while units(run) < count:
        assert process.poll() is None, "the process ended before its race"
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_race_ends_like_one_that_was_not_killed(few_digits: Path, hurried: None, tmp_path: Path) -> None:
    with started(CODE, "fit", few_digits, "--out", tmp_path / "r", *RACE) as process:
        wait_for_units(tmp_path / "r", process, 2)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "r" / "result.json").exists(), "the race was over before it was killed"
    kept = len(list((tmp_path / "r" / "race").glob("*.npz")))
    assert kept >= 2
    before = units(tmp_path / "r")
    resumed = headstart("fit", few_digits, "--out", tmp_path / "r", *RACE, "--json")
    assert resumed.code == 0, resumed.err
    undisturbed = headstart("fit", few_digits, "--out", tmp_path / "other", *RACE, "--json")
    assert units(tmp_path / "r") - before == units(tmp_path / "other"), "units that are read back are told again"
    assert undisturbed.json["decision"]["train"] == "last-1"
    assert timeless(resumed.json) == timeless(undisturbed.json)
    first, second = (load_file(tmp_path / name / "classifier" / "weights.safetensors") for name in ("r", "other"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name], name)
    assert resumed.json["decision"]["why"] and not (tmp_path / "r" / "race").exists()


def test_a_unit_that_was_finished_is_not_trained_again(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, int]] = []
    real = training.Trainer.unit

    def unit(self: training.Trainer, arm: Arm, repeat: int, fold: int) -> FoldResult:
        if len(trained) == 2:
            raise SystemError("killed")
        trained.append((arm.key, fold))
        return real(self, arm, repeat, fold)

    monkeypatch.setattr(training.Trainer, "unit", unit)
    assert headstart("fit", few_digits, "--out", tmp_path / "r", *RACE).code == 1
    first = list(trained)
    trained.clear()
    monkeypatch.setattr(training.Trainer, "unit", lambda *a: trained.append((a[1].key, a[3])) or real(*a))
    assert headstart("fit", few_digits, "--out", tmp_path / "r", *RACE).code == 0
    assert trained and not set(first) & set(trained)


def test_ctrl_c_in_the_race_keeps_the_best_that_is_finished(few_digits: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    with started(SLOW, "fit", few_digits, "--out", run, "--train", "last-1", "--budget", "900steps") as process:
        wait_for_units(run, process, 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=150) == 0
    result = api.result(run)
    assert result["interrupted"] is True
    assert result["race"]["ended"] == "interrupted"
    assert result["decision"]["train"] in ("head", "last-1")
    picture = next(few_digits.rglob("*.png"))
    assert headstart("predict", run, picture).code == 0


def stopping(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> None:
    """A trainer whose method `name` is stopped by Ctrl-C in its call number `after`, from 0."""
    calls: list[int] = []
    real = getattr(training.Trainer, name)

    def stop(*arguments: object) -> object:
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training.Trainer, name, stop)


def test_the_second_ctrl_c_ends_at_once(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch, "unit", 1)
    stopping(monkeypatch, "refit", 0)
    done = headstart("fit", few_digits, "--out", tmp_path / "r", *RACE)
    assert done.code == 130
    assert not (tmp_path / "r" / "result.json").exists()
    picture = next(few_digits.rglob("*.png"))
    assert headstart("predict", tmp_path / "r", picture).code == 0, "the first answer stays"


def test_ctrl_c_while_the_better_one_is_saved(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = finish.finish

    def stopped(run: Any, material: Any, answer: Any, decision: Any) -> Any:
        if answer.train != "head":
            raise KeyboardInterrupt
        return real(run, material, answer, decision)

    monkeypatch.setattr(finish, "finish", stopped)
    done = headstart("fit", few_digits, "--out", tmp_path / "r", *RACE, "--json")
    assert done.code == 0, done.err
    assert (done.json["interrupted"], done.json["decision"]["train"]) == (True, "head")


@pytest.mark.parametrize("where", ["activations", "refit"])
def test_one_ctrl_c_while_planning_or_at_the_end_leaves_the_first_answer(
    few_digits: Path, hurried: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    stopping(monkeypatch, where, 0)
    done = headstart("fit", few_digits, "--out", tmp_path / "r", *RACE, "--json")
    assert done.code == 0, done.err
    assert done.json["interrupted"] is True
    assert done.json["decision"]["train"] == "head"
    picture = next(few_digits.rglob("*.png"))
    assert headstart("predict", tmp_path / "r", picture).code == 0
