"""The page and the card come last: whatever happens to them, the run is complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.progress import Silent
from headstart.reporting import card, report
from headstart.run import Run
from headstart.showing import Showing, write_pages


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("trouble", [ZeroDivisionError("a chart"), OSError("disk full"), KeyboardInterrupt()])
def test_a_page_that_cannot_be_written_costs_the_page_only(
    trouble: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: Run) -> None:
        raise trouble

    monkeypatch.setattr(card, "write_card", lambda run: None)
    monkeypatch.setattr(report, "write_report", fails)
    told = Told()
    write_pages(Run(tmp_path), told)
    assert len(told.lines) == 1 and f"headstart report {tmp_path}" in told.lines[0]
    logged = (tmp_path / "log.jsonl").read_text() if (tmp_path / "log.jsonl").exists() else ""
    assert isinstance(trouble, KeyboardInterrupt) or json.loads(logged)["event"] == "report failed"


def test_what_is_left_for_showing(tmp_path: Path) -> None:
    spent = Clock()
    short = Showing(FitConfig(tmp_path, budget=0.5), first_answer=0.2, interrupted=False).left(spent)
    assert 3.0 < short <= 3.2, "five seconds after the first answer, two of them for the page"
    long = Showing(FitConfig(tmp_path, budget=100.0), first_answer=10.0, interrupted=False).left(spent)
    assert 107.0 < long <= 108.0, "a tenth over the budget"
    steps = Showing(FitConfig(tmp_path, steps=9), first_answer=1.0, interrupted=False).left(spent)
    assert steps == float("inf")
