"""The tutorial is executed: every block of docs/birds.md, in order, in one working folder.

The pictures come from two Debian packages, and tests open no connection. So a stand-in of the unpacked packages, made
of small real photographs, lies where the reader's command keeps its downloads; the command itself runs as written.
HEADSTART_DOWNLOADS names a folder with the packages themselves: then the very set of the page is used.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import headstart
from hurry import hurry

from headstart import pipeline, result

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "birds.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.M | re.S)
REAL = os.environ.get("HEADSTART_DOWNLOADS")
pytestmark = pytest.mark.timeout(240 if not REAL else 900)
STAMPS = ("animals/birds", "animals/fish", "animals/mammals", "plants/flowers", "food/fruit")


def _stand_in(downloads: Path, photos: Path) -> None:
    """The two packages, unpacked: photographs under the names that the script looks for, and bundles with nothing."""
    for package in ("tuxpaint-stamps-default", "gcompris-qt-data"):
        downloads.mkdir(exist_ok=True)
        (downloads / f"{package}_0_all.deb").touch()
    stamps = downloads / "tuxpaint-stamps-default_0_all" / "usr/share/tuxpaint/stamps"
    for name, folder in zip(STAMPS, sorted(photos.iterdir()), strict=True):
        (stamps / name).mkdir(parents=True)
        for picture in sorted(folder.iterdir())[:10]:  # as few as the script takes for a class
            shutil.copy(picture, stamps / name / f"{picture.stem}.png")  # read by content, not by suffix
    data = downloads / "gcompris-qt-data_0_all"
    notice = data / "usr/share/doc/gcompris-qt-data/copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text("Files: *\nLicense: GPL-3+\n")
    bundles = data / "usr/share/gcompris-qt/rcc"
    bundles.mkdir(parents=True)
    root = struct.pack(">IHII", 0, 2, 0, 0)  # a folder without children
    for name in ("erase", "explore_farm_animals", "explore_world_animals", "categorization"):
        (bundles / f"{name}.rcc").write_bytes(b"qres" + struct.pack(">IIII", 1, 20, 20, 20) + root)


@pytest.fixture(scope="module")
def desk(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The reader's working folder; in it, every block has run. Gives what each block printed."""
    place = tmp_path_factory.mktemp("reader")
    (place / "benchmarks").mkdir()
    shutil.copytree(ROOT / "benchmarks" / "datasets", place / "benchmarks" / "datasets")
    if REAL:
        (place / "downloads").symlink_to(Path(REAL).resolve())
    else:
        _stand_in(place / "downloads", photos)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        hurry(patch.setattr)  # the page gives minutes to each step
        patch.setattr(pipeline, "other_backbones", lambda seen, *_: (seen, (), False))
        names: dict[str, Any] = {"__name__": "birds"}
        yield place, [_run(kind, text, names) for kind, text in BLOCKS if kind != "text"]


def _run(kind: str, text: str, names: dict[str, Any]) -> str:
    """Run one block as a reader would; what it printed on stdout."""
    if kind == "python":
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, PAGE.name, "exec"), names)
        return out.getvalue()
    assert kind == "sh", f"a block of kind {kind} would not be run"
    return "".join(_line(shlex.split(line, comments=True)) for line in text.splitlines() if line.strip())


def _line(words: list[str]) -> str:
    if words[0] == "headstart":
        done = headstart(*words[1:])
        assert done.code == 0, (words, done.err)
        return done.out
    assert words[0] == "python", f"{words[0]} is not run by this test"
    child = subprocess.run([sys.executable, "-B", *words[1:]], capture_output=True, text=True, timeout=100)
    assert child.returncode == 0, child.stderr
    return child.stdout


@pytest.mark.slow
def test_every_block_runs_and_prints(desk: tuple[Path, list[str]]) -> None:
    printed = desk[1]
    assert len(printed) >= 8
    assert all(text.strip() for text in printed)


@pytest.mark.slow
def test_every_amount_was_really_trained(desk: tuple[Path, list[str]]) -> None:
    asked = re.findall(r"--train (\S+).*--out (\S+)", TEXT)
    assert {amount for amount, _ in asked} >= {"scratch", "head", "extra", "last-1"}
    for amount, run in asked:
        assert result(desk[0] / run)["decision"]["train"] == amount


def test_blocks_and_outputs_alternate() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert set(kinds) == {"sh", "python", "text"}
    for before, after in itertools.pairwise(kinds):
        assert (before == "text") != (after == "text"), "every block that is run shows what it printed"


def test_numbers_in_the_text_stand_in_an_output() -> None:
    """Percentages in running text are copied from the outputs, never typed from memory."""
    shown = "\n".join(text for kind, text in BLOCKS if kind == "text")
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.M | re.S)
    figures = re.findall(r"(\d+(?:\.\d+)?) ?%", prose)
    assert figures
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", shown), f"{figure} % is in no output"


def test_the_picture_shows_the_curves_of_the_page() -> None:
    shown = next(text for kind, text in BLOCKS if kind == "text" and text.startswith("scratch, "))
    svg = (PAGE.parent / "head-start.svg").read_text("utf-8")
    heights = {int(v): float(y) for y, v in re.findall(r'y="([\d.]+)" text-anchor="end">(\d+)<', svg)}
    for name, numbers in re.findall(r"^(\S+), .*\n  (.*)$", shown, re.M):
        line = re.search(rf'<polyline id="{name}" points="([^"]+)"', svg)
        assert line, name
        drawn = [float(point.split(",")[1]) for point in line[1].split()]
        scale = (heights[0] - heights[100]) / 100  # pixels per point; the label of 0 lies 4.5 pixels below its line
        found = [(heights[0] - 4.5 - y) / scale for y in drawn]
        assert found == pytest.approx([float(n) for n in numbers.split()], abs=0.55), name


def test_pictures_and_links_of_the_page_exist() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT):
        assert (PAGE.parent / path).exists(), path


@pytest.mark.skipif(not REAL, reason="needs the packages: HEADSTART_DOWNLOADS")
@pytest.mark.slow
def test_the_names_on_the_page_are_those_that_are_printed(desk: tuple[Path, list[str]]) -> None:
    outputs = [text for kind, text in BLOCKS if kind == "text"]
    for number in (0, 1):  # the set, and what the network called its birds
        assert desk[1][number].split() == outputs[number].split()
