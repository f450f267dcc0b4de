"""Inspecting real files: a set made to show each finding about pictures, and one made not to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart import findings, inspecting
from headstart.answer import Answer, answer_of_probe
from headstart.backbone.backbone import Backbone
from headstart.data.samples import Samples, from_lists
from headstart.data.split import make_split
from headstart.embedding.squares import Squares
from headstart.evaluation.findings_pictures import tells_classes
from headstart.evidence import Evidence
from headstart.howmuch.unjudged import unjudged
from headstart.looking import heads, look
from headstart.progress import Silent
from headstart.training import Ground

PER_CLASS, ODD = 40, 8
SIDE = 96
LOOKED_AT = float("inf")  # seconds that may pass: a busy machine must not change what is looked at


def patterns(folder: Path, change=None, per_class: int = PER_CLASS) -> Samples:
    """Two classes, stripes and spots in noise; `change(image)` makes the first 8 of each odd."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    files, labels = [], []
    for label in ("spots", "stripes"):
        for i in range(per_class):
            wave = np.sin(columns / 2.0 + rng.uniform(0, 6))
            light = 128 + 50 * (wave if label == "stripes" else wave * np.sin(rows / 2.0 + rng.uniform(0, 6)))
            pixels = light[:, :, None] + rng.normal(0, 15, (SIDE, SIDE, 3)) + rng.normal(0, 4)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            files.append(folder / f"{label}{i:02}.png")
            labels.append(label)
            (change(image) if change and i < ODD else image).save(files[-1])
    return from_lists(files, labels)


def ground_of(samples: Samples, backbone: Backbone, probed: bool = False) -> tuple[Ground, Answer]:
    """What `fit` has when it inspects; `probed`: with the probe's own answers, else a stand-in that is always right."""
    material = look(samples, backbone, Silent())
    groups = material.groups[material.learn]
    split = make_split(material.labels, groups, 0, 5, 1)
    if probed:
        ground = Ground(material, backbone, split, heads(material, backbone, split), 0)
        return ground, answer_of_probe(ground.found, material, backbone)
    k = len(samples.classes)
    found = unjudged(material.matrices(material.learn), [d.name for d in backbone.depths], material.labels, k)
    ground = Ground(material, backbone, split, replace(found, judged=np.ones(len(material.learn), bool)), 0)
    answer = answer_of_probe(ground.found, material, backbone)
    return ground, replace(answer, logits=np.eye(k, dtype=np.float32)[material.labels])


def wrong_on(ground: Ground, answer: Answer, rows: np.ndarray) -> Answer:
    """The answer with these mistakes and no others."""
    labels = ground.material.labels
    said = np.where(np.isin(np.arange(len(labels)), rows), 1 - labels, labels)
    return replace(answer, logits=np.where(np.arange(2) == said[:, None], 1.0, -1.0).astype(np.float32))


def odd_rows(n: int = 2 * PER_CLASS) -> np.ndarray:
    return np.flatnonzero(np.arange(n) % PER_CLASS < ODD)


CHANGES = {
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "dark": lambda image: image.point(lambda v: v // 6),
    "bright": lambda image: image.point(lambda v: 190 + v // 4),
    "odd_size": lambda image: image.resize((24, 24)),
    "odd_shape": lambda image: image.crop((0, 0, SIDE, 24)),
}


@pytest.mark.parametrize(
    "code", ["dark", "odd_shape", *(pytest.param(c, marks=pytest.mark.slow) for c in ("blurred", "bright", "odd_size"))]
)
def test_odd_pictures_are_found_where_they_go_with_mistakes(code: str, tmp_path: Path, lite0: Backbone) -> None:
    ground, answer = ground_of(patterns(tmp_path, CHANGES[code]), lite0)
    mistaken = wrong_on(ground, answer, np.append(odd_rows()[::2], [20, 60]))
    inspected = inspecting.inspect(ground, mistaken, LOOKED_AT)
    said = {f.code: f for f in findings.of_result(ground.material, mistaken, 1.0, Evidence(), inspected)}
    assert code in said, inspected
    names = {ground.material.names[i] for i in odd_rows()}
    assert len(names & set(said[code].items)) >= 2 * ODD - 2
    assert len(set(said[code].items) - names) <= 1
    elsewhere = wrong_on(ground, answer, np.array([20, 25, 30, 35, 60, 65, 70, 75, 79]))
    assert code not in {odd.code for odd in inspecting.inspect(ground, elsewhere, LOOKED_AT).odd}


def test_a_set_without_odd_pictures_has_nothing_to_say(tmp_path: Path, lite0: Backbone) -> None:
    ground, answer = ground_of(patterns(tmp_path), lite0)
    inspected = inspecting.inspect(ground, wrong_on(ground, answer, odd_rows()[::2]), LOOKED_AT)
    assert (inspected.odd, inspected.blank, inspected.skipped) == ((), (), ())
    assert inspected.frame is not None
    said = {f.code for f in findings.of_result(ground.material, answer, 1.0, Evidence(), inspected)}
    assert not said & {"background", "blank", "label_errors", *CHANGES}


def test_pictures_of_one_tone_are_named(tmp_path: Path, lite0: Backbone) -> None:
    samples = patterns(tmp_path)
    for i, tone in ((3, 10), (50, 200)):
        Image.new("RGB", (SIDE, SIDE), (tone, tone, tone)).save(samples.sources[i])
    ground, answer = ground_of(samples, lite0)
    assert inspecting.inspect(ground, answer, LOOKED_AT).blank == (3, 50)


def before_walls(folder: Path, photos: Path, telling: bool) -> Samples:
    """Three classes of the same photographs before three walls; `telling`: each class has a wall of its own."""
    rng = np.random.default_rng(1)
    crops = sorted(photos.glob("*/*"))
    files, labels = [], []
    for k, label in enumerate(("one", "three", "two")):
        for i in range(30):
            wall = k if telling else int(rng.integers(3))
            tone = np.array([(150, 70, 60), (60, 130, 80), (70, 80, 160)][wall]) + rng.normal(0, 8)
            pixels = tone + rng.normal(0, 12, (200, 200, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            with Image.open(crops[int(rng.integers(len(crops)))]) as crop:
                picture.paste(crop.convert("RGB").resize((130, 130)), tuple(int(x) for x in rng.integers(25, 45, 2)))
            files.append(folder / f"{label}{i:02}.png")
            labels.append(label)
            picture.save(files[-1])
    return from_lists(files, labels)


@pytest.mark.parametrize("telling", [True, False])
def test_walls_that_give_the_classes_away_are_found(
    telling: bool, tmp_path: Path, photos: Path, lite0: Backbone
) -> None:
    ground, answer = ground_of(before_walls(tmp_path, photos, telling), lite0)
    inspected = inspecting.inspect(ground, answer, LOOKED_AT)
    assert inspected.frame is not None
    said = {f.code for f in findings.of_result(ground.material, answer, 1.0, Evidence(), inspected)}
    assert ("background" in said) == telling, inspected.frame
    assert (inspected.frame.follows_frame is not None) == tells_classes(inspected.frame)  # asked only where it matters


def test_flipped_labels_are_named(tmp_path: Path, lite0: Backbone) -> None:
    samples = patterns(tmp_path, per_class=100)
    # 4 %: two patterns that are told apart equally well everywhere could also be a classifier that is 97 % sure
    flipped = np.array([5, 33, 47, 60, 107, 120, 150, 177])
    labels = samples.labels.copy()
    labels[flipped] = 1 - labels[flipped]
    for touched, wanted in ((samples, set()), (replace(samples, labels=labels), set(flipped.tolist()))):
        ground, answer = ground_of(touched, lite0, probed=True)
        said = [f for f in findings.of_result(ground.material, answer, 1.0, Evidence()) if f.code == "label_errors"]
        items = said[0].items if said else ()
        assert {item.split(": ")[0] for item in items} == {samples.names[i] for i in wanted}


def test_no_time_is_said_and_costs_nothing(tmp_path: Path, lite0: Backbone) -> None:
    ground, answer = ground_of(patterns(tmp_path), lite0)
    inspected = inspecting.inspect(ground, answer, 0.1)
    assert inspected.frame is None
    assert inspected.skipped == ("blur and background were not looked at: no time left",)
    assert inspected.seconds < 1.0
    assert inspecting.inspection_takes(ground) > 0.1


def test_vanished_files_are_left_out(tmp_path: Path, lite0: Backbone) -> None:
    samples = patterns(tmp_path)
    ground, answer = ground_of(samples, lite0)
    decoded_again = replace(ground.material.embeddings, squares=Squares())
    ground = replace(ground, material=replace(ground.material, embeddings=decoded_again))
    for source in samples.sources[::8]:
        source.unlink()
    inspected = inspecting.inspect(ground, answer, LOOKED_AT)
    assert inspected.frame is not None and inspected.frame.n == 70
    for source in samples.sources:
        source.unlink(missing_ok=True)
    inspected = inspecting.inspect(ground, answer, LOOKED_AT)
    assert inspected.frame is None and len(inspected.skipped) == 1


@pytest.mark.parametrize("each", [1, 2])
def test_tiny_sets_crash_nothing(each: int, photos: Path, lite0: Backbone) -> None:
    files = [file for folder in sorted(photos.iterdir()) for file in sorted(folder.iterdir())[:each]]
    ground, answer = ground_of(from_lists(files, [f.parent.name for f in files]), lite0, probed=True)
    inspected = inspecting.inspect(ground, answer, LOOKED_AT)
    assert inspected.frame is None and inspected.odd == () and len(inspected.skipped) == 1
    assert findings.of_result(ground.material, answer, 1.0, Evidence(), inspected)
    assert inspecting.inspection_takes(ground) > 0


def test_ctrl_c_leaves_it_undone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspecting, "inspect", interrupt)
    found, interrupted = inspecting.inspected(None, None, 10.0, False)  # type: ignore[arg-type]
    assert interrupted and found.skipped
    found, interrupted = inspecting.inspected(None, None, 10.0, True)  # type: ignore[arg-type]
    assert interrupted and found.skipped
