"""Findings about pictures: each with figures that show it and figures that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.evaluation import findings_pictures as findings
from headstart.evaluation.findings_pictures import FrameAlone
from headstart.evaluation.quality import Oddity
from headstart.evaluation.suspects import Noise

GIVES_AWAY = FrameAlone(120, 3, 0.4375, 0.97, 0.98, 0.34, 0.88, 0.09)


def noise(low: float) -> Noise:
    return Noise(0.03, low, 0.05, np.zeros(400))


def test_wrong_labels_are_named_with_the_likely_ones() -> None:
    found = findings.label_errors(["a/1.png"], [("a", "b")], noise(0.0))
    assert found is not None
    assert (found.code, found.severity, found.title) == ("label_errors", "tip", "1 label is probably wrong")
    assert found.items == ("a/1.png: a -> b",)
    assert "3.0 % of the 400 labels" in found.detail
    assert findings.label_errors([], [], noise(0.02)) is None


@pytest.mark.parametrize(("n", "low", "severity"), [(5, 0.02, "issue"), (5, 0.005, "tip"), (2, 0.02, "tip")])
def test_only_many_wrong_labels_beyond_doubt_are_an_issue(n: int, low: float, severity: str) -> None:
    found = findings.label_errors([f"{i}.png" for i in range(n)], [("a", "b")] * n, noise(low))
    assert found is not None and found.severity == severity


@pytest.mark.parametrize("code", ["blurred", "dark", "bright", "odd_size", "odd_shape"])
def test_odd_pictures_are_named_in_order_with_advice(code: str) -> None:
    found = findings.odd_pictures(Oddity(code, np.array([2, 0]), 1, 0.5, 0.08, 0.004), ["a", "b", "c"])
    assert (found.code, found.severity, found.items) == (code, "tip", ("c", "a"))
    assert "50 % wrong, of the others 8 %" in found.title
    assert "1 of the 2" in found.detail and "looked at more often" not in found.detail
    assert found.advice.endswith(".")


def test_a_share_that_is_not_that_of_the_names_is_explained() -> None:
    found = findings.odd_pictures(Oddity("blurred", np.array([2, 0]), 2, 0.45, 0.18, 0.004), ["a", "b", "c"])
    assert "45 % wrong" in found.title and "2 of the 2" in found.detail and "looked at more often" in found.detail


def test_blank_pictures_are_named() -> None:
    found = findings.blank_pictures(["a"])
    assert found is not None and (found.code, found.items) == ("blank", ("a",))
    assert findings.blank_pictures([]) is None


def test_a_background_that_gives_classes_away_is_an_issue() -> None:
    found = findings.background(GIVES_AWAY)
    assert found is not None and (found.code, found.severity) == ("background", "issue")
    assert "44 % of the area, gives 97 % right, whole pictures 98 %" in found.detail


@pytest.mark.parametrize(
    "different",
    [
        {"follows_frame": 0.15, "follows_middle": 0.75},  # surroundings that are typical, objects that decide
        {"follows_frame": 0.61, "follows_middle": 0.39},  # evidence anywhere: solar cells
        {"top1": 0.6},  # the frame tells some of it
        {"top1": 0.36, "whole": 0.35},  # nothing tells anything
        {"n": 12},  # too few to say
        {"follows_frame": None, "follows_middle": None},  # not asked: the frame tells too little
    ],
)
def test_a_frame_that_does_not_decide_is_not_accused(different: dict[str, float | None]) -> None:
    assert findings.background(replace(GIVES_AWAY, **different)) is None
