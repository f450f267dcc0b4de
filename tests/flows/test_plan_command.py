"""headstart plan: what fit would try, in order, with reasons and times; nothing is trained and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import files_below, headstart, one_line
from hurry import hurry

from headstart import rules

ALL = ("extra", "norms", "last-1", "last-2", "last-3", "all")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no time spent on measuring."""
    amounts = rules.amounts
    hurry(monkeypatch.setattr)
    monkeypatch.setattr(rules, "amounts", amounts)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_arms_in_order_with_reasons_and_seconds(few_digits: Path, desk: Path) -> None:
    done = headstart("plan", few_digits, "--budget", "20m", "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = done.json
    arms = found["plan"]["arms"]
    assert {a["train"] for a in arms} == set(ALL) - {"extra"}, "extra layers never paid on fifteen pictures"
    assert found["similarity"]["place"] == "far" and found["size"]["place"] == "tiny"
    assert arms[0]["train"] == "last-3", "far: begin with the last three stages"
    assert any(a["fresh"] for a in arms), "far from the source a fresh head competes"
    for a in arms:
        assert a["why"] and a["status"]
        assert 0 < a["fold"]["seconds"] < a["all_folds"]["seconds"]
        assert a["refit"]["seconds"] > 0
    assert found["frozen"]["depths"] and 0 <= found["frozen"]["low"] <= found["frozen"]["high"] <= 1
    assert len(found["flips"]) == 2
    assert files_below(desk) == set(), "a plan leaves nothing behind"


def test_the_plan_reads_as_text(few_digits: Path, desk: Path) -> None:
    done = headstart("plan", few_digits, "--budget", "20m")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    numbered = [line for line in lines if line.split(".")[0].isdigit()]
    assert [line.split(".")[0] for line in numbered] == [str(k + 1) for k in range(len(numbered))]
    assert len(numbered) >= 5
    assert all(" to judge, " in line and " to train in the end" in line for line in numbered)
    assert any("far from the source" in line for line in lines)


def test_what_a_short_budget_cannot_pay_is_said(few_digits: Path, desk: Path) -> None:
    arms = headstart("plan", few_digits, "--budget", "1s", "--train", "last-1", "--json").json["plan"]["arms"]
    assert {a["status"] for a in arms} == {"not affordable"}


def test_one_amount(few_digits: Path, desk: Path) -> None:
    found = headstart("plan", few_digits, "--budget", "20m", "--train", "last-2", "--json").json
    assert {a["train"] for a in found["plan"]["arms"]} == {"last-2"}
    assert found["plan"]["pinned"] == "last-2"
    assert headstart("plan", few_digits, "--train", "head", "--json").json["plan"] is None


def test_bad_data_is_exit_3(desk: Path) -> None:
    (desk / "empty").mkdir()
    for name in ("absent", "empty"):
        done = headstart("plan", desk / name)
        assert done.code == 3
        assert name in one_line(done)


@pytest.mark.parametrize("command", ["plan", "fit"])
@pytest.mark.parametrize("train", ["last-99", "last-8", "last-0", "sideways"])
def test_an_amount_that_the_network_does_not_have_is_exit_2(
    few_digits: Path, desk: Path, command: str, train: str
) -> None:
    done = headstart(command, few_digits, "--train", train)
    assert done.code == 2
    assert f"--train {train}" in one_line(done)
    assert files_below(desk) == set(), "refused before any work"
