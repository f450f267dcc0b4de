"""Sets too small for five folds: a sensible answer, no crash, nothing claimed that was not measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import headstart
from PIL import Image


def cut(photos: Path, to: Path, per_class: list[int]) -> Path:
    for folder, most in zip(sorted(photos.iterdir()), per_class, strict=False):
        (to / folder.name).mkdir(parents=True)
        for picture in sorted(p for p in folder.iterdir() if p.is_file())[:most]:
            shutil.copy(picture, to / folder.name / picture.name)
    return to


@pytest.mark.parametrize("k", [2, *(pytest.param(k, marks=pytest.mark.slow) for k in (3, 5))])
def test_few_pictures_per_class(photos: Path, tmp_path: Path, k: int) -> None:
    done = headstart(
        "fit", cut(photos, tmp_path / "data", [k] * 5), "--out", tmp_path / "r", "--train", "head", "--json"
    )
    assert done.code == 0, done.err
    result = done.json
    assert result["accuracy"]["low"] < result["accuracy"]["top1"] <= 1
    assert result["accuracy"]["high"] - result["accuracy"]["low"] > 0.1, "few pictures cannot give a narrow interval"
    judged = headstart("evaluate", tmp_path / "r", photos, "--json").json
    assert judged["top1"] > 0.6


def test_one_picture_per_class_gives_a_classifier_and_claims_nothing(photos: Path, tmp_path: Path) -> None:
    done = headstart(
        "fit", cut(photos, tmp_path / "data", [1] * 5), "--out", tmp_path / "r", "--train", "head", "--json"
    )
    assert done.code == 0, done.err
    assert done.json["accuracy"]["top1"] is None
    assert headstart("evaluate", tmp_path / "r", photos, "--json").json["top1"] > 0.4


def test_a_class_with_a_single_picture_is_learned_but_not_judged(photos: Path, tmp_path: Path) -> None:
    data = cut(photos, tmp_path / "data", [1, 9, 9, 9, 9])
    done = headstart("fit", data, "--out", tmp_path / "r", "--train", "head", "--json")
    assert done.code == 0, done.err
    single = sorted(photos.iterdir())[0].name
    folds = {s["name"]: s["value"] for s in done.json["settings"]}["folds"]
    assert folds == 5, "one small class must not cost the others their training pictures"
    assert "single_picture_class" in {f["code"] for f in done.json["findings"]}
    per_class = {c["class"]: c for c in done.json["accuracy"]["per_class"]}
    assert per_class[single]["n"] == 0
    picture = next((data / single).iterdir())
    assert headstart("predict", tmp_path / "r", picture, "--json").json["predictions"][0]["class"] == single


@pytest.mark.parametrize("classes", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_many_classes_of_three(classes: int, tmp_path: Path) -> None:
    """A colour per class: far from any photograph, but learnable."""
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    (tmp_path / "p").mkdir()
    for k in range(classes):
        colour = np.array([k % 10, (k // 10) % 10, k // 100]) * 25 + 15
        for j in range(3):
            pixels = (colour + rng.integers(-3, 4, (16, 16, 3))).clip(0, 255).astype(np.uint8)
            name = f"p/{k}-{j}.png"
            Image.fromarray(pixels).save(tmp_path / name)
            lines.append(f"{name},colour {k:03d}")
    (tmp_path / "colours.csv").write_text("\n".join(lines))
    done = headstart("fit", tmp_path / "colours.csv", "--out", tmp_path / "r", "--train", "head", "--json")
    assert done.code == 0, done.err
    assert done.json["data"]["classes"] == classes
    assert done.json["accuracy"]["top1"] > 20 / classes
