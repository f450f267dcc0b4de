"""Bad input: one clear line, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from commands import child, headstart, one_line

NEEDS_USER = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")


def test_no_such_folder(tmp_path: Path) -> None:
    done = headstart("fit", tmp_path / "absent", "--out", tmp_path / "r")
    assert done.code == 3
    assert "absent" in one_line(done)
    assert not (tmp_path / "r").exists()


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = headstart("fit", tmp_path / "empty", "--out", tmp_path / "r")
    assert done.code == 3
    assert "one folder per class" in one_line(done)


def test_pictures_without_classes(photos: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(sorted(photos.iterdir())[0], flat)
    done = headstart("fit", flat, "--out", tmp_path / "r")
    assert done.code == 3
    assert "no class folders" in one_line(done)


def test_one_class(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(sorted(photos.iterdir())[0], tmp_path / "one" / "only")
    done = headstart("fit", tmp_path / "one", "--out", tmp_path / "r")
    assert done.code == 3
    assert "at least two" in one_line(done)


def test_too_many_broken_pictures(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    for k in range(12):
        (sorted(data.iterdir())[0] / f"broken{k}.jpg").write_bytes(b"")
    done = headstart("fit", data, "--out", tmp_path / "r")
    assert done.code == 3
    assert "12 of" in one_line(done)
    assert not (tmp_path / "r" / "classifier").exists()


def test_few_broken_pictures_are_listed(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (sorted(data.iterdir())[0] / "broken.jpg").write_bytes(b"")
    done = headstart("fit", data, "--out", tmp_path / "r", "--train", "head", "--json")
    assert done.code == 0, done.err
    assert done.json["data"]["skipped"] == 1
    assert "broken.jpg,empty file" in (tmp_path / "r" / "bad_images.csv").read_text()


@pytest.mark.parametrize(
    ("option", "value", "code", "said"),
    [
        ("--train", "sideways", 2, "last-1, last-2"),
        ("--backbone", "resnet9000", 2, "efficientnet_lite0"),
        ("--seed", "-1", 2, "seed"),
    ],
)
def test_wrong_options(photos: Path, tmp_path: Path, option: str, value: str, code: int, said: str) -> None:
    done = headstart("fit", photos, "--out", tmp_path / "r", option, value)
    assert done.code == code
    assert said in one_line(done)


def test_unknown_option_is_a_usage_error(photos: Path) -> None:
    assert child("fit", photos, "--frobnicate").code == 2


def test_json_errors_are_json(tmp_path: Path) -> None:
    done = headstart("fit", tmp_path / "absent", "--out", tmp_path / "r", "--json")
    assert done.code == 3
    assert json.loads(done.out)["error"]["code"] == 3


def test_output_that_is_not_a_run_is_not_touched(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("dear reader")
    done = headstart("fit", photos, "--out", tmp_path / "thesis", "--overwrite")
    assert done.code == 2
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "dear reader"
    assert len(list((tmp_path / "thesis").iterdir())) == 1


@NEEDS_USER
def test_unwritable_output(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = headstart("fit", photos, "--out", tmp_path / "locked" / "r")
    assert done.code == 5
    assert "cannot write" in one_line(done)


def test_output_below_a_file(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = headstart("fit", photos, "--out", tmp_path / "file" / "r")
    assert done.code == 5
    assert "cannot write" in one_line(done)


def test_damaged_classifier_is_refused(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    assert headstart("fit", photos, "--out", run, "--train", "head").code == 0
    model = run / "classifier" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    picture = next(p for p in sorted(photos.rglob("*")) if p.is_file())
    done = headstart("predict", run, picture)
    assert done.code == 4
    assert "model.onnx" in one_line(done)


def test_predict_without_a_run(photos: Path, tmp_path: Path) -> None:
    done = headstart("predict", tmp_path / "nowhere", photos)
    assert done.code == 4
    assert "nowhere" in one_line(done)


def test_disk_full_while_saving_keeps_the_old_classifier(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "r"
    assert headstart("fit", photos, "--out", run, "--train", "head").code == 0
    before = {p.name: p.read_bytes() for p in (run / "classifier").iterdir()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = headstart("fit", photos, "--out", run, "--train", "head", "--overwrite")
    assert done.code == 5
    assert "disk is full" in one_line(done)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in (run / "classifier").iterdir()} == before
    assert not [p for p in run.rglob("*.tmp")]
    picture = next(p for p in sorted(photos.rglob("*")) if p.is_file())
    assert headstart("predict", run, picture).code == 0
