"""Policy: each rule gives what its reason says, at its borders."""

from __future__ import annotations

import pytest

from headstart import rules


@pytest.mark.parametrize(
    ("per_class", "place"),
    [(1, "tiny"), (5, "tiny"), (5.5, "small"), (20, "small"), (21, "medium"), (100, "medium"), (101, "large")],
)
def test_size(per_class: float, place: str) -> None:
    assert rules.size_place(per_class) == place


@pytest.mark.parametrize(("largest", "folds"), [(30, 5), (5, 5), (4, 4), (2, 2), (1, 2)])
def test_folds(largest: int, folds: int) -> None:
    assert rules.folds(largest).value == folds


def test_repeats_fall_with_size() -> None:
    assert [rules.repeats(n).value for n in (10, 300, 301, 1000, 1001, 10**6)] == [5, 5, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("bad", "n", "stop"), [(3, 4, False), (4, 79, True), (4, 80, False), (5, 100, False), (6, 100, True)]
)
def test_bad_pictures(bad: int, n: int, stop: bool) -> None:
    assert rules.too_many_bad(bad, n) is stop


def test_what_the_user_asked_for_is_kept() -> None:
    assert rules.backbone("efficientnet_lite2") == rules.Rule("backbone", "efficientnet_lite2", "asked for", "user")
    assert rules.backbone("auto").by == "rule"
    assert rules.train("head").by == "user"
    assert rules.train("auto").value == "head"
