"""What is written is executed: every block of README.md that a reader would type."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from commands import headstart
from hurry import hurry

from headstart import pipeline

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)


@pytest.fixture
def desk(few_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder as the README imagines it: birds/ with one folder per class, and photo.jpg."""
    shutil.copytree(few_photos, tmp_path / "birds")
    picture = next(p for p in sorted(few_photos.rglob("*")) if p.is_file())
    shutil.copy(picture, tmp_path / "photo.jpg")
    shutil.copytree(sorted(few_photos.iterdir())[0], tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    # What is typed here has five minutes each; the choice of a backbone and the race have tests of their own.
    hurry(monkeypatch.setattr)
    monkeypatch.setattr(pipeline, "other_backbones", lambda seen, *_: (seen, (), False))
    return tmp_path


def test_console_lines_run(desk: Path) -> None:
    lines = [
        line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.startswith("headstart ")
    ]
    assert len(lines) >= 5
    for line in lines:
        arguments = shlex.split(line, comments=True)[1:]
        if arguments[0] == "demo":  # minutes and a data set; CI's `make test` has its own test of the demo's manifest
            continue
        done = headstart(*arguments)
        assert done.code == 0, (line, done.err)


def test_python_blocks_run(desk: Path) -> None:
    blocks = [text for kind, text in BLOCKS if kind == "python"]
    assert blocks
    for text in blocks:
        exec(compile(text, "README.md", "exec"), {"__name__": "readme"})


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {
        line.split()[1]
        for kind, text in BLOCKS
        if kind == "sh"
        for line in text.splitlines()
        if line.startswith("make ")
    }
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_ci_runs_the_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_pictures_in_the_readme_exist() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / path).exists(), path
