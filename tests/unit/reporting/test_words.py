"""Figures as words."""

from __future__ import annotations

import pytest

from headstart.reporting import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.0, "<0.1 s"),
        (0.42, "0.4 s"),
        (12.3, "12 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (7300, "2 h 1 min"),
    ],
)
def test_duration(seconds: float | None, said: str) -> None:
    assert words.duration(seconds) == said


def test_what_is_not_certain_is_not_called_certain() -> None:
    said = [words.chance(p) for p in (1.0, 0.9996, 0.934, 0.001, 0.0, None)]
    assert said == ["100 %", "over 99 %", "93 %", "under 1 %", "0 %", "-"]


def test_differences_have_a_sign_and_zero_has_none() -> None:
    assert [words.points(d) for d in (0.0123, -0.02, 0.0, -0.0001)] == [
        "+1.2 points", "-2.0 points", "0.0 points", "0.0 points",
    ]  # fmt: skip


def test_counted() -> None:
    assert words.counted(1, "class", "classes") == "1 class" and words.counted(2624, "picture") == "2,624 pictures"


def test_amounts_are_ordered_by_how_much_is_trained() -> None:
    found = sorted(["all", "last-10", "scratch", "head", "last-2", "norms", "extra", "new"], key=words.amount_order)
    assert found == ["head", "extra", "norms", "last-2", "last-10", "all", "scratch", "new"]
