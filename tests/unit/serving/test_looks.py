from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headstart.artefact import Artefact
from headstart.classifier.classifier import Classifier
from headstart.classifier.explain import Explainer
from headstart.errors import ClassifierError
from headstart.images.load import LIMITS
from headstart.serving.decoders import Square
from headstart.serving.looks import Looks
from headstart.serving.model import Model
from headstart.serving.options import ServingLimits
from served import picture, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def artefact(run: Path) -> Artefact:
    return Classifier.load(run).artefact


def squares(run: Path, contents: list[bytes]) -> list[Square]:
    classifier = Classifier.load(run)
    found = [classifier.load_picture(content) for content in contents]
    return [Square(one.pixels, one.width, one.height, one.note) for one in found]


def test_a_training_picture_is_nearest_to_itself(run: Path, artefact: Artefact) -> None:
    looks = Looks.read(artefact, run)
    contents = [(run / "data" / f"{k:02}.png").read_bytes() for k in range(12)]
    found = looks.at(squares(run, contents), np.zeros(12, np.int64))
    for k, look in enumerate(found):
        assert look.nearest[0]["index"] == k
        assert look.nearest[0]["similarity"] == pytest.approx(1, abs=2e-3)
        assert [one["similarity"] for one in look.nearest] == sorted(
            (one["similarity"] for one in look.nearest), reverse=True
        )
        assert look.nearest[0]["picture"]
        assert looks.training_picture(k, LIMITS) == contents[k]


def test_heat_is_a_grid_of_bytes_on_the_part_that_was_seen(run: Path, artefact: Artefact) -> None:
    look = Looks.read(artefact, run).at(squares(run, [picture(1, 70)]), np.array([1]))[0]
    assert look.heat is not None
    assert len(look.heat["values"]) == look.heat["rows"] * look.heat["columns"]
    assert 0 <= min(look.heat["values"]) <= max(look.heat["values"]) == 255
    assert look.heat["box"] == [0, 0, 1, 1]


def test_case_101_no_index_leads_out_of_the_data(run: Path, artefact: Artefact, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture(1))
    inside = tmp_path / "data"
    inside.mkdir()
    (inside / "link.png").symlink_to(outside)
    (inside / "folder").mkdir()
    (inside / "kept.png").symlink_to(inside / "real.png")
    (inside / "real.png").write_bytes(picture(2))
    ids = [
        "../outside.png",
        str(outside),
        "link.png",
        "folder",
        "missing.png",
        "a\0b",
        "",
        "kept.png",
        "real.png",
        "..",
        "x",
        "y",
    ]
    explain = tmp_path / "explain"
    explain.mkdir()
    explain.joinpath("nearest.safetensors").write_bytes((run / "explain" / "nearest.safetensors").read_bytes())
    names = json.loads((run / "explain" / "nearest.json").read_text())
    explain.joinpath("nearest.json").write_text(json.dumps({**names, "root": str(inside), "ids": ids}))
    looks = Looks.read(artefact, tmp_path)
    got = [looks.training_picture(k, LIMITS) is not None for k in range(len(ids))]
    assert got == [name in ("kept.png", "real.png") for name in ids]
    assert looks.training_picture(-1, LIMITS) is None
    assert looks.training_picture(len(ids), LIMITS) is None


def test_without_explain_it_is_left_out(artefact: Artefact, tmp_path: Path) -> None:
    looks = Looks.read(artefact, tmp_path)
    assert not looks.nearest
    assert looks.training_picture(0, LIMITS) is None


def test_an_index_of_another_classifier_or_a_damaged_one_is_left_out(run: Path, tmp_path: Path) -> None:
    from tiny import tiny_artefact

    assert not Looks.read(tiny_artefact(depths=("block0",)), run).nearest
    (tmp_path / "explain").mkdir()
    (tmp_path / "explain" / "nearest.json").write_text("{")
    (tmp_path / "explain" / "nearest.safetensors").write_bytes(b"x" * 100)
    assert not Looks.read(tiny_artefact(), tmp_path).nearest


def test_a_network_that_cannot_be_explained_still_answers(
    run: Path, artefact: Artefact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ClassifierError("cannot be explained")

    monkeypatch.setattr(Explainer, "look", fail)
    looks = Looks.read(artefact, run)
    look = looks.at(squares(run, [picture(1)]), np.array([0]))[0]
    assert (look.heat, look.nearest, looks.heat, looks.nearest) == (None, [], False, False)


def test_what_is_told_about_the_model_holds_no_path(run: Path, tmp_path: Path) -> None:
    model = Model.read(run, ServingLimits())
    text = json.dumps(model.about)
    assert str(run) not in text
    assert model.about["classes"] == ["cat", "dog", "eagle"]
    assert model.about["accuracy"]["top1"] == 0.9
    assert [row["threshold"] for row in model.about["coverage"]] == [0.5, 0.7, 0.9]
    bare = Model.read(run / "classifier", ServingLimits())
    assert (bare.about["accuracy"], bare.about["coverage"]) == (None, [])
    assert bare.version == model.version


def test_a_result_that_is_odd_is_left_out(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run, tmp_path / "copy")
    for odd in ("[]", "{", '{"accuracy": 5, "coverage": 7, "data": [], "test": "x"}', '{"coverage": [1, null]}'):
        (tmp_path / "copy" / "result.json").write_text(odd)
        about = Model.read(tmp_path / "copy", ServingLimits()).about
        assert (about["accuracy"], about["coverage"]) == (None, [])
