"""The console summary says what result.json says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from headstart.reporting.summary import sentence, summary_lines

RESULT: dict[str, Any] = {
    "accuracy": {
        "top1": 0.8711,
        "low": 0.852,
        "high": 0.887,
        "baseline": 0.687,
        "balanced": 0.84,
        "nll": 0.321,
        "ece": 0.021,
        "how": "out of fold on 100 pictures",
        "series_top1": 0.81,
        "series_how": "file order",
        "shuffled_top1": None,
    },
    "decision": {
        "train": "head",
        "depths": ["block5", "last"],
        "backbone": "efficientnet_lite0",
        "extra_layers": [],
        "why": "Train only a new head",
    },
    "similarity": {"why": "far from the source"},
    "candidates": [{"train": "head", "top1": 0.88, "n": 100}],
    "race": {"ended": "a new head was asked for"},
    "test": {"top1": 0.9, "low": 0.8, "high": 0.95, "n": 40, "left_out": 2},
    "learning_curve": [{"n": 20, "top1": 0.7}, {"n": 80, "top1": 0.87}],
    "depths": [{"name": "last", "top1": 0.86}],
    "findings": [{"severity": "issue", "title": "your pictures come in series"}],
    "seconds": {"total": 12.3, "scan": 0.1, "embed": 9.0, "probe": 2.0, "finish": 1.0},
    "engine": {"name": "openvino", "precision": "fp32", "device": "cpu", "images_per_second": 300.0},
    "interrupted": False,
}


def test_the_sentence() -> None:
    assert sentence(RESULT) == (
        "Trained a new head on depths block5 and last of efficientnet_lite0: 87.1 % of new pictures right "
        "(95 % interval 85.2 to 88.7); always naming the most frequent class would be 68.7 %."
    )


def test_every_figure_is_shown() -> None:
    text = "\n".join(summary_lines(RESULT, "runs/x"))
    for piece in (
        "81.0 % with folds by file order",
        "90.0 % right (95 % interval 80.0 to 95.0) on 40, 2 left out",
        "70.0 % with 20",
        "[issue]",
        "300 pictures a second",
        "headstart predict runs/x",
    ):
        assert piece in text, piece


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ("norms", "the norms and biases of"),
        ("last-1", "the last stage of"),
        ("last-2", "the last 2 stages of"),
        ("last-12", "the last 12 stages of"),
        ("all", "everything of"),
        ("scratch", "everything of efficientnet_lite0 from scratch"),
        ("extra", "extra layers of 256, 64 after the frozen efficientnet_lite0"),
    ],
)
def test_what_was_trained_in_words(train: str, words: str) -> None:
    decision = {**RESULT["decision"], "train": train, "extra_layers": [256, 64]}
    assert sentence({**RESULT, "decision": decision}).startswith(f"Trained {words}")


def test_why_there_was_no_race_is_shown() -> None:
    text = "\n".join(summary_lines(RESULT, "runs/x"))
    assert "far from the source" in text and "a new head was asked for" in text
    assert "raced" not in text


def test_the_best_of_every_amount_that_was_raced_is_shown() -> None:
    arms = [("last-1", 0.9, 40), ("last-1", 0.95, 40), ("all", 0.8, 20), ("norms", None, 0)]
    raced = [{"train": train, "top1": top1, "n": n} for train, top1, n in arms]
    result = {**RESULT, "candidates": [*RESULT["candidates"], *raced], "race": {"ended": "the time is over"}}
    text = "\n".join(summary_lines(result, "runs/x"))
    assert "last-1 95.0 % on 40, all 80.0 % on 20 (the time is over)" in text
    assert "Train only a new head" in text and "norms" not in text and "head 88" not in text


def test_what_is_unknown_is_not_claimed() -> None:
    blind = copy.deepcopy(RESULT)
    blind["accuracy"] = {**dict.fromkeys(RESULT["accuracy"]), "how": "nothing can be held out"}
    blind["test"], blind["depths"], blind["learning_curve"] = None, [], []
    text = "\n".join(summary_lines(blind, "runs/x"))
    assert "too few pictures to say how good" in text
    assert "None" not in text


def test_an_interrupted_run_says_so() -> None:
    assert any("Interrupted" in line for line in summary_lines({**RESULT, "interrupted": True}, "runs/x"))


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (["last"], "the last layer"),
        (["b"], "depth b"),
        (["a", "b", "c"], "depths a to c"),
        (["a", "b", "c", "last"], "all 4 depths"),
        (["a", "c", "last"], "depths a, c and last"),
    ],
)
def test_depths_in_words(chosen: list[str], words: str) -> None:
    depths = [{"name": name, "top1": 0.5} for name in ("a", "b", "c", "last")]
    decision = {"train": "head", "depths": chosen, "backbone": "x"}
    assert f"on {words} of x" in sentence({**RESULT, "depths": depths, "decision": decision})
