"""fit on pictures that workers embed, on a folder that is embedded, out of core; and a plan for a larger set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import child, headstart, one_line

from headstart import foreseeing
from headstart.config import FitConfig
from headstart.errors import UsageError
from headstart.pipeline import fit
from headstart.run import Run
from headstart.scaling import spec

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX; the extra [scale] is for Linux and macOS")
QUICK = ("--train", "head", "--budget", "5s")  # the budget of what only shows a run
SMALL_PARTS = """
import sys
from headstart.cli.main import _run
from headstart.scaling import spec
spec._FEWEST = 8
sys.exit(_run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def killed(digits: Path, lite0: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A run that was killed while its workers embedded, and when each part that was there had been written."""
    run = tmp_path_factory.mktemp("killed") / "run"
    command = [sys.executable, "-c", SMALL_PARTS, "fit", digits, "--out", run, "--on", "local", "--train", "head"]
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while len(list(run.glob("embedded/parts/part-*.parquet"))) < 3:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    return run, {part.name: part.stat().st_mtime_ns for part in run.glob("embedded/parts/part-*.parquet")}


@pytest.fixture(scope="module")
def resumed(digits: Path, killed: tuple[Path, dict[str, int]]) -> Path:
    done = headstart("fit", digits, "--out", killed[0], "--on", "local", *QUICK, "--resume", "--json")
    assert done.code == 0, done.err
    return killed[0]


def test_a_killed_fit_goes_on_and_equals_plain_fit(
    digits: Path, killed: tuple[Path, dict[str, int]], resumed: Path, tmp_path: Path
) -> None:
    parts = {part.name: part.stat().st_mtime_ns for part in resumed.glob("embedded/parts/part-*.parquet")}
    assert 3 <= len(killed[1]) < len(parts) == 15
    assert all(parts[name] == when for name, when in killed[1].items()), "what was there is not made again"
    plain = headstart("fit", digits, "--out", tmp_path / "plain", *QUICK, "--json")
    assert plain.code == 0, plain.err
    found, wanted = Run(resumed).result(), plain.json
    assert found["decision"]["depths"] == wanted["decision"]["depths"]
    assert abs(found["accuracy"]["top1"] - wanted["accuracy"]["top1"]) < 0.01
    assert found["data"]["n"] == wanted["data"]["n"] == 120
    assert found["settings"][0]["why"] == "the pictures are embedded with it"
    assert "--on local" in found["call"]["command"]
    again = headstart("fit", digits, "--out", resumed, "--on", "local", "--resume")
    assert again.code == 0 and "finished already" in again.err


def test_fit_on_what_embed_made(resumed: Path, tmp_path: Path) -> None:
    done = headstart("fit", resumed / "embedded", "--out", tmp_path / "run", *QUICK, "--json")
    assert done.code == 0, done.err
    first = Run(resumed).result()
    assert done.json["decision"]["depths"] == first["decision"]["depths"]
    assert done.json["accuracy"]["top1"] == pytest.approx(first["accuracy"]["top1"], abs=1e-6)
    assert not (tmp_path / "run" / "embedded").exists()
    other = headstart("fit", resumed / "embedded", "--out", tmp_path / "x", "--backbone", "efficientnet_lite1")
    assert other.code == 2 and "embedded with efficientnet_lite0" in one_line(other)


@pytest.mark.slow
def test_what_does_not_fit_into_memory_gets_a_head_from_part_files(resumed: Path, digits: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Listening:
        def start(self, phase: str, total: int | None = None) -> None: ...
        def update(self, done: int) -> None: ...
        def say(self, line: str) -> None:
            said.append(line)

    embedded, out = resumed / "embedded", tmp_path / "run"
    result = fit(embedded, FitConfig(out, budget=5.0, memory=1), Listening()).result()
    assert sum("nothing is raced" in line for line in said) == 1
    assert result["decision"]["train"] == "head" and result["decision"]["depths"] == ["last"]
    assert "no room for the sums of block0" in result["accuracy"]["how"]
    assert result["data"]["n"] == result["data"]["sample"] == 120 and result["data"]["per_class"] == [12] * 10
    assert result["verified"] > 0 and result["race"]["ended"].endswith("nothing is raced")
    assert 0.5 < result["accuracy"]["low"] < result["accuracy"]["top1"] < result["accuracy"]["high"] <= 1
    assert (out / "report.html").is_file() and "Traceback" not in (out / "log.jsonl").read_text()
    asked = headstart("predict", out, digits / "7", "--json")
    named = [answer["class"] for answer in asked.json["predictions"]]
    assert named.count("7") >= 10, "it has learned them"
    with pytest.raises(UsageError, match="only a head can be trained"):
        fit(embedded, FitConfig(tmp_path / "more", "last-1", memory=1))
    assert not (tmp_path / "more").exists(), "refused before any work"


def test_an_unfinished_folder_and_an_unknown_place_are_refused(resumed: Path, digits: Path, tmp_path: Path) -> None:
    success = resumed / "embedded" / "_SUCCESS.json"
    content = success.read_bytes()
    success.unlink()
    try:
        done = headstart("fit", resumed / "embedded", "--out", tmp_path / "run")
        assert done.code == 3 and "headstart embed" in one_line(done)
    finally:
        success.write_bytes(content)
    wrong = headstart("fit", digits, "--out", tmp_path / "run", "--on", "moon")
    assert wrong.code == 2 and "ray://HOST:PORT" in one_line(wrong)


@pytest.mark.slow
def test_overwriting_with_other_pictures_embeds_them(digits: Path, lite0: Any, tmp_path: Path) -> None:
    run, few = tmp_path / "run", tmp_path / "few"
    for name in ("3", "8"):
        (few / name).mkdir(parents=True)
        for picture in sorted((digits / name).iterdir())[:4]:
            (few / name / picture.name).write_bytes(picture.read_bytes())
    assert headstart("fit", few, "--out", run, "--on", "local", *QUICK).code == 0
    (few / "3" / "00.png").unlink()
    (few / "3" / "01.png").unlink()
    refused = headstart("fit", few, "--out", run, "--on", "local", *QUICK)
    assert refused.code == 2 and "--overwrite" in one_line(refused)
    done = headstart("fit", few, "--out", run, "--on", "local", *QUICK, "--overwrite", "--json")
    assert done.code == 0, done.err
    assert done.json["data"]["n"] == 6 and spec.read_spec(run / "embedded").rows == 6


def test_a_larger_set_is_foreseen(digits: Path, lite0: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreseeing, "SECONDS", 0.3)
    done = headstart("plan", digits, "--images", "1e8", "--workers", 20, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    measured, embed, heads = found["measured"], found["embed"], found["heads"]
    assert embed["parts"] == 24_415 and embed["rows_per_part"] == 4096
    assert embed["hours"] == pytest.approx(1e8 / 20 / measured["images_per_second"] / 3600)
    assert embed["bytes"] == pytest.approx(1e8 * measured["row_bytes"], rel=1e-6)
    assert 2 * 2064 + 1024 < measured["row_bytes"] < 2 * 2064 + 2500, "every depth, the thumbnail, the rest"
    assert heads["where"] == "part files" and heads["memory_bytes"] < 16e9 and heads["columns"] == 2064
    small = headstart("plan", digits, "--images", 5000)
    assert "goes on in memory" in small.out and "32 parts" in small.out
    wrong = headstart("plan", digits, "--images", 0)
    assert wrong.code == 2 and "1e8" in one_line(wrong)
    assert headstart("plan", digits, "--images", 5, "--workers", 0).code == 2


def test_measuring_leaves_a_picture_that_cannot_be_read_in_peace(lite0: Any, tmp_path: Path) -> None:
    from PIL import Image

    from headstart.scaling.measure import measure_worker
    from headstart.scaling.spec import Settings

    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"no picture")
    rows = [(str(tmp_path / f"{i}.png"), "a", None) for i in range(4)]
    measured = measure_worker(rows, lite0, 0.05, Settings())
    assert measured.bad == 1 and measured.images_per_second > 0 and measured.pictures >= 4


@pytest.mark.slow
def test_on_a_ray_of_its_own(few_digits: Path, lite0: Any, cache: Path, tmp_path: Path) -> None:
    """A process of its own: Ray stays with the process that started it."""
    env = {**os.environ, "RAY_ADDRESS": "local", "HEADSTART_CACHE": str(cache)}
    done = child("fit", few_digits, "--out", tmp_path / "run", "--on", "ray", *QUICK, "--json", env=env)
    assert done.code == 0, done.err
    here = headstart("embed", few_digits, "--out", tmp_path / "here")
    assert here.code == 0, here.err
    one, two = (sorted((f / "parts").iterdir()) for f in (tmp_path / "run" / "embedded", tmp_path / "here"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two], "the same files as on this machine"
    assert done.json["data"]["n"] == 15 and done.json["config"]["on"] == "ray"
