"""Every amount of training from the command line to a file that predicts alone; the race that chooses among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import child, headstart
from hurry import STEPS_OF_ALL, STEPS_OF_FOLD, arms, timeless
from onnx import numpy_helper

from headstart import api
from headstart.backbone.backbone import Backbone
from headstart.images.load import load_image

AMOUNTS = ("extra", "norms", "last-1", "last-2", "all", "scratch")
DECISION = {"train", "depths", "backbone", "extra_layers", "learning_rate", "why", "p_better"}
CANDIDATE = {
    "train", "depths", "learning_rate", "top1", "low", "high", "seconds", "predicted_seconds", "status", "why", "curve",
}  # fmt: skip
ALONE = """
import json, sys
from pathlib import Path
from headstart import api
pictures = sorted(Path(sys.argv[1]).rglob("*.png"))
found = {}
for run in sys.argv[2:]:
    found[Path(run).name] = api.load(run).predict_proba(pictures).tolist()
assert not {"torch", "timm", "sklearn"} & set(sys.modules)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def pinned(few_digits: Path, hurried_module: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run per amount, with steps for one fold of one arm and the final training."""
    folder = tmp_path_factory.mktemp("pinned")
    budget = f"{STEPS_OF_FOLD + STEPS_OF_ALL}steps"
    for amount in AMOUNTS:
        asked = ["--extra-layers", "8"] if amount == "extra" else ["--train", amount]
        steps = "400steps" if amount == "extra" else budget  # layers count in steps of their own
        done = headstart("fit", few_digits, "--out", folder / amount, *asked, "--budget", steps, "--json")
        assert done.code == 0, (amount, done.err)
    return {amount: folder / amount for amount in AMOUNTS}


@pytest.fixture(scope="module")
def alone(pinned: dict[str, Path], few_digits: Path) -> dict[str, np.ndarray]:
    """Probabilities of every run in a process that never trained and may not import torch."""
    done = child(few_digits, *pinned.values(), code=ALONE)
    assert done.code == 0, done.err
    return {name: np.array(rows) for name, rows in json.loads(done.out).items()}


@pytest.mark.parametrize("amount", AMOUNTS)
def test_the_result_says_what_was_trained(pinned: dict[str, Path], amount: str) -> None:
    result = api.result(pinned[amount])
    decision, raced = result["decision"], arms(result)
    assert set(decision) >= DECISION
    assert decision["train"] == amount
    assert decision["extra_layers"] == ([8] if amount == "extra" else [])
    assert (decision["learning_rate"] is None) == (amount == "extra")
    stored = json.loads((pinned[amount] / "classifier" / "classifier.json").read_text())
    assert stored["decision"]["train"] == amount
    assert decision["depths"] == stored["depths"], "the depths that the saved head reads"
    assert {c["train"] for c in raced} == {amount}
    assert all(set(c) >= CANDIDATE for c in result["candidates"])
    ran = [c for c in raced if c["status"] == "run"]
    assert ran
    for c in ran:
        assert c["n"] > 0 and c["low"] <= c["top1"] <= c["high"]
        assert c["seconds"] > 0 and c["predicted_seconds"] > 0 and c["curve"]
        assert [p["seconds"] for p in c["curve"]] == sorted(p["seconds"] for p in c["curve"])
    assert result["verified"] == 15
    assert {"plan", "race", "refit"} <= set(result["seconds"])
    assert result["interrupted"] is False
    assert not (pinned[amount] / "race").exists(), "the units of a race that was decided are not kept"


@pytest.mark.parametrize("amount", AMOUNTS)
def test_the_file_alone_gives_the_same_answers(
    pinned: dict[str, Path], alone: dict[str, np.ndarray], few_digits: Path, lite0: Backbone, amount: str
) -> None:
    import openvino

    pictures = sorted(few_digits.rglob("*.png"))
    pixels = np.stack([load_image(p, lite0.preprocessing).pixels for p in pictures])
    model = openvino.Core().compile_model(
        str(pinned[amount] / "classifier" / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    found = next(iter(model(pixels).values()))
    np.testing.assert_allclose(found, alone[amount], atol=1e-4)
    if amount != "scratch":  # two epochs from random weights: its answers differed by dead channels blown up, no more
        assert np.ptp(found, axis=0).max() > 1e-3, "pictures get different answers"


def tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def changed(run: Path, lite0: Backbone) -> set[str]:
    """Which tensors of the network differ in a single bit from the pretrained ones, as stage names."""
    before = tensors(onnx.load(str(lite0.graph())))
    after = tensors(onnx.load(str(run / "classifier" / "model.onnx")))
    names = {name for name in after if name.startswith("body.")}
    assert names <= set(before) and len(names) > 50
    return {".".join(n.split(".")[1:3]) for n in names if before[n].tobytes() != after[n].tobytes()}


LAST_TWO = {"blocks.5", "blocks.6", "conv_head.weight", "conv_head.bias"}


def test_what_is_below_the_cut_stays_bit_by_bit(pinned: dict[str, Path], lite0: Backbone) -> None:
    assert changed(pinned["extra"], lite0) == set()
    assert changed(pinned["last-1"], lite0) == LAST_TWO - {"blocks.5"}
    assert changed(pinned["last-2"], lite0) == LAST_TWO
    for amount in ("norms", "all", "scratch"):
        assert changed(pinned[amount], lite0) >= {f"blocks.{k}" for k in range(7)} | {"conv_stem.weight"}, amount


def test_norms_only_scale_and_scratch_starts_elsewhere(pinned: dict[str, Path], lite0: Backbone) -> None:
    name = "body.blocks.6.0.conv_pw.weight"
    before = tensors(onnx.load(str(lite0.graph())))[name].reshape(-1)

    def likeness(amount: str) -> float:
        after = tensors(onnx.load(str(pinned[amount] / "classifier" / "model.onnx")))[name]
        rows, olds = after.reshape(len(after), -1), before.reshape(len(after), -1)
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(olds, axis=1)
        return float(np.min((rows * olds).sum(1) / norms))

    assert likeness("norms") > 0.99999, "a filter may only become longer or shorter"
    assert likeness("all") < 0.9999999
    assert likeness("scratch") < 0.5


@pytest.fixture(scope="module")
def shuffled(
    shuffled_digits: Path, hurried_module: None, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The same race twice, on labels that mean nothing."""
    folder = tmp_path_factory.mktemp("shuffled")
    found = []
    for name in ("a", "b"):
        done = headstart("fit", shuffled_digits, "--out", folder / name, "--budget", "24steps", "--json")
        assert done.code == 0, done.err
        found.append(done.json)
    return found


def test_shuffled_labels_are_no_better_than_guessing_after_a_race(shuffled: list[dict[str, Any]]) -> None:
    result = shuffled[0]
    assert [c for c in arms(result) if c["n"]], "a race ran"
    assert "no_better_than_guessing" in {f["code"] for f in result["findings"]}
    assert "guessing" in result["decision"]["why"]
    assert result["decision"]["train"] == "head"
    assert result["accuracy"]["low"] <= result["accuracy"]["baseline"] + 0.05


def test_every_candidate_says_what_became_of_it(shuffled: list[dict[str, Any]]) -> None:
    result = shuffled[0]
    assert {c["train"] for c in arms(result)} == {"last-1", "last-2"}
    for c in arms(result):
        assert c["status"] in ("run", "stopped", "not tried")
        assert c["why"]
        assert (c["n"] > 0) == bool(c["curve"]) == (c["top1"] is not None)
    assert {c["status"] for c in arms(result)} > {"not tried"}, "24 steps are enough for some, not for all"
    assert result["race"]["ended"] and result["race"]["plan"]["arms"]
    assert len(result["race"]["notes"]) == 2, "what flips do to labels is told"


def test_a_race_counted_in_steps_depends_on_the_seed_alone(shuffled: list[dict[str, Any]]) -> None:
    first, second = (timeless(r) for r in shuffled)
    assert first == second


@pytest.mark.slow
def test_extra_without_widths_is_trained_all_the_same(few_digits: Path, hurried: None, tmp_path: Path) -> None:
    asked = ("--train", "extra", "--budget", "400steps", "--json")
    done = headstart("fit", few_digits, "--out", tmp_path / "r", *asked)
    assert done.code == 0, done.err
    assert done.json["decision"]["train"] == "extra"
    assert done.json["decision"]["extra_layers"], "some width is chosen"
