"""What `predict` takes and how it answers: patterns, lists, odd names, unsure, and many pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import child, files_below, headstart, one_line
from PIL import Image

from headstart.artefact import write_classifier
from tiny import CLASSES, tiny_artefact

HEADER = ["path", "class", "probability", "error"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "run"
    write_classifier(folder / "classifier", tiny_artefact())
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """new/ with a.png, b.png, deep/c.png and deep/d.jpg; the classifier is not equally sure of them."""
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "deep/c.png", "deep/d.jpg"):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((50, 40)).save(folder / name)
    return folder


def piped(content: bytes, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "headstart", "predict", *map(str, arguments)]
    return subprocess.run(command, input=content, capture_output=True, timeout=60)


def paths(outcome) -> list[str]:
    return [row["path"] for row in outcome.json["predictions"]]


def test_patterns_stand_for_what_matches(run: Path, new: Path) -> None:
    assert paths(headstart("predict", run, f"{new}/*.png", "--json")) == [f"{new}/a.png", f"{new}/b.png"]
    deep = paths(headstart("predict", run, f"{new}/**/*.[pj][np]g", "--json"))
    assert deep == [f"{new}/{name}" for name in ("a.png", "b.png", "deep/c.png", "deep/d.jpg")]
    assert paths(headstart("predict", run, f"{new}/d*", "--json")) == [f"{new}/deep/c.png", f"{new}/deep/d.jpg"]


def test_a_pattern_without_a_match_is_answered(run: Path, new: Path) -> None:
    done = headstart("predict", run, f"{new}/a.png", f"{new}/*.tif", "--json")
    assert done.code == 3
    assert [row["error"] for row in done.json["predictions"]] == [None, "file not found"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_file_whose_name_looks_like_a_pattern_is_that_file(run: Path, new: Path) -> None:
    shutil.copy(new / "a.png", new / "[ab].png")
    assert paths(headstart("predict", run, f"{new}/[ab].png", "--json")) == [f"{new}/[ab].png"]


def test_a_list_on_stdin_by_lines(run: Path, new: Path) -> None:
    lines = f"{new}/b.png\r\n\n{new}/a.png\n{new}/gone.png".encode()
    done = piped(lines, run, "-", new / "deep" / "c.png", "--json")
    assert done.returncode == 3
    rows = json.loads(done.stdout)["predictions"]
    assert [Path(row["path"]).name for row in rows] == ["b.png", "a.png", "gone.png", "c.png"]
    assert [row["error"] for row in rows] == [None, None, "file not found", None]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_list_separated_by_nul_survives_any_name(run: Path, new: Path) -> None:
    odd = [b"two\nlines.png", b"tab\there.png", b'say "a, b".png', b"caf\xe9.png", b"*.png"]
    for name in odd:
        shutil.copy(new / "a.png", os.fsencode(new) + b"/" + name)
    content = b"\0".join(os.fsencode(new) + b"/" + name for name in odd) + b"\0"
    done = piped(content, run, "-")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(odd), "one line each, whatever the name"
    cells = [line.split("\t") for line in lines]
    assert {len(row) for row in cells} == {3}, "a tab in a name is shown as \\t"
    shown = [Path(row[0]).name for row in cells]
    assert shown == ["two\\nlines.png", "tab\\there.png", 'say "a, b".png', "caf\\xe9.png", "*.png"]
    table = new / "table.csv"
    assert piped(content, run, "-", "--csv", table).returncode == 0
    with table.open(newline="", encoding="utf-8") as f:
        assert [Path(row["path"]).name for row in csv.DictReader(f)] == shown
    assert [Path(r["path"]).name for r in json.loads(piped(content, run, "-", "--json").stdout)["predictions"]] == shown


def test_an_empty_list_is_said(run: Path) -> None:
    done = piped(b"\n\n", run, "-")
    assert done.returncode == 3
    assert b"list on stdin is empty" in done.stderr


def test_unsure_keeps_the_best_guess_visible(run: Path, new: Path, tmp_path: Path) -> None:
    picture = new / "a.png"
    (sure,) = headstart("predict", run, picture, "--json", "--top", 3).json["predictions"]
    p = sure["probability"]
    assert sure["class"] in CLASSES
    (above,) = headstart("predict", run, picture, "--json", "--unsure", p - 0.01).json["predictions"]
    assert above["class"] == sure["class"]
    (below,) = headstart("predict", run, picture, "--json", "--unsure", min(1, p + 0.01)).json["predictions"]
    assert below["class"] == "unsure"
    assert below["probability"] == p
    assert below["top"] == [[sure["class"], p]]
    text = headstart("predict", run, picture, "--unsure", min(1, p + 0.01)).out.strip().split("\t")
    assert text == [str(picture), "unsure", f"{p:.3f}", sure["class"], f"{p:.3f}"]
    table = tmp_path / "t.csv"
    headstart("predict", run, picture, "--unsure", min(1, p + 0.01), "--csv", table)
    (row,) = csv.DictReader(io.StringIO(table.read_text()))
    assert (row["class"], row["class_1"]) == ("unsure", sure["class"])


def test_a_class_called_unsure_is_not_confused(tmp_path: Path, new: Path) -> None:
    write_classifier(tmp_path / "r" / "classifier", tiny_artefact(classes=("sure", "unsure", "never")))
    assert "class named 'unsure'" in one_line(headstart("predict", tmp_path / "r", new, "--unsure", 0.5))
    assert headstart("predict", tmp_path / "r", new).code == 0


def test_text_csv_and_json_tell_the_same_and_bad_pictures_have_a_row(run: Path, new: Path, tmp_path: Path) -> None:
    (new / "broken.jpg").write_bytes(b"<html>not here</html>")
    told = headstart("predict", run, new, "--json", "--top", 3)
    text = headstart("predict", run, new, "--top", 3)
    written = headstart("predict", run, new, "--top", 3, "--csv", tmp_path / "t.csv")
    assert told.code == text.code == written.code == 3
    assert "1 of 5 pictures could not be read" in one_line(written)
    rows, lines = told.json["predictions"], [line.split("\t") for line in text.out.splitlines()]
    with (tmp_path / "t.csv").open(newline="") as f:
        table = list(csv.DictReader(f))
    assert list(table[0])[:4] == HEADER
    for row, line, cells in zip(rows, lines, table, strict=True):
        assert row["path"] == line[0] == cells["path"] and None not in cells.values()  # no row is shorter
        if row["error"]:
            assert (row["class"], row["probability"], row["top"]) == (None, None, [])
            assert line[1:] == ["-", row["error"]]
            assert (cells["class"], cells["probability"], cells["error"]) == ("", "", row["error"])
        else:
            assert line[1:] == [cell for name, p in row["top"] for cell in (name, f"{p:.3f}")]
            assert [cells[f"class_{k}"] for k in (1, 2, 3)] == [name for name, _ in row["top"]]
            assert float(cells["probability"]) == row["probability"]


def test_nothing_is_left_of_a_table_that_does_not_come_to_its_end(
    run: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.classifier.classifier import Classifier
    from headstart.errors import MachineError

    real = Classifier.predict_each

    def dies(self, sources, top=3, progress=None):
        yield next(real(self, sources, top, progress))
        raise MachineError("the disk is gone")

    monkeypatch.setattr(Classifier, "predict_each", dies)
    out = tmp_path / "out"
    out.mkdir()
    (out / "t.csv").write_text("old")
    for how in (("--csv", out / "t.csv"), ("--json",), ("--csv", out / "t.csv", "--json")):
        done = headstart("predict", run, new, *how)
        assert done.code == 5
        if "--json" in how:
            assert done.json == {"error": {"code": 5, "message": "the disk is gone"}}, (
                "one document, not one and a half"
            )
    assert files_below(out) == {"t.csv"}
    assert (out / "t.csv").read_text() == "old"
    assert "cannot write" in one_line(headstart("predict", run, new, "--csv", tmp_path / "no" / "t.csv"))


def test_memory_stays_flat_with_many_pictures(run: Path, new: Path) -> None:
    code = (
        "import sys, resource\nfrom headstart.cli.main import _run\n"
        "code = _run(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)\n"
        "sys.exit(code)"
    )
    if sys.platform == "win32":
        pytest.skip("no resource module")
    peaks = []
    for times in (50, 2500):
        names = new / "list.txt"
        names.write_text(f"{new}/a.png\n" * times)
        with names.open("rb") as stdin:
            command = [sys.executable, "-c", code, "predict", str(run), "-", "--json"]
            done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=100)
        assert len(json.loads(done.stdout)["predictions"]) == times
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 40, f"{peaks} MB"


def test_predicting_from_a_list_imports_no_torch(run: Path, new: Path) -> None:
    code = (
        "import sys; from headstart.cli.main import _run; code = _run(sys.argv[1:]); "
        "heavy = {'torch', 'timm', 'sklearn', 'onnx', 'onnxruntime'} & set(sys.modules); sys.exit(9 if heavy else code)"
    )
    assert child("predict", run, new / "a.png", code=code).code == 0


def test_every_answer_is_written_before_the_next_is_waited_for(
    run: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.classifier.classifier import Classifier
    from headstart.cli import answers

    real, told = Classifier.predict_each, []

    def watched(self, sources, top=3, progress=None):
        for prediction in real(self, sources, top, progress):
            told.append("answered")
            yield prediction

    monkeypatch.setattr(Classifier, "predict_each", watched)
    real_line = answers.line_of
    monkeypatch.setattr(answers, "line_of", lambda *a: (told.append("written"), real_line(*a))[1])
    assert headstart("predict", run, new).code == 0
    assert told == ["answered", "written"] * 4
