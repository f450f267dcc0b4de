"""The forecast of the frozen pass: said once, early, and only when the budget is too short for it."""

from __future__ import annotations

import pytest

from headstart import looking


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: list[int] = []

    def start(self, phase: str, total: int | None = None) -> None: ...

    def update(self, done: int) -> None:
        self.counts.append(done)

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(looking.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("left", "said"), [(30.0, 1), (300.0, 0)])
def test_a_pass_longer_than_the_budget_is_said_beforehand_once(clock: list[float], left: float, said: int) -> None:
    heard = Heard()
    forecast = looking._Forecast(heard, left)
    for second in range(1, 11):  # 10 pictures a second, 1,000 of them
        clock[0] = float(second)
        forecast(10 * second, 1000)
    assert heard.counts == [10 * s for s in range(1, 11)]
    assert len(heard.lines) == said
    assert not said or ("some 100 s" in heard.lines[0] and "nothing is raced" in heard.lines[0])


def test_a_pass_that_is_over_at_once_says_nothing(clock: list[float]) -> None:
    heard = Heard()
    looking._Forecast(heard, -1.0)(5, 5)
    assert heard.lines == []
