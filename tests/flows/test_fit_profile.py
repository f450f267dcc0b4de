"""`fit --profile`: where the time went, against the wall time that is seen from outside."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import child, headstart
from hurry import STEPS_OF_ALL, STEPS_OF_FOLD
from PIL import Image

from headstart import api
from headstart.backbone.backbone import Backbone
from headstart.clock import Clock
from headstart.progress import Silent

PASS = {"decode", "resize", "derive", "compute", "collect", "wait"}


def add_up(profile: dict[str, Any]) -> None:
    """Rows add up to the whole, parts to the same, and little is left over."""
    rows, parts = profile["rows"], profile["parts"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(profile["seconds"])
    assert sum(parts.values()) == pytest.approx(profile["seconds"])
    assert all(row["seconds"] > 0 and row["core_seconds"] >= 0 for row in rows)
    assert parts.get("other", 0.0) <= 0.01 * profile["seconds"] + 0.02


@pytest.fixture(scope="module")
def unseen(photos: Path, lite0: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs upside down: nothing of them is in the cache, the network is."""
    folder = tmp_path_factory.mktemp("unseen") / "data"
    for picture in sorted(p for p in photos.rglob("*") if p.is_file()):
        place = folder / picture.parent.name
        place.mkdir(parents=True, exist_ok=True)
        with Image.open(picture) as file:
            Image.fromarray(np.asarray(file)[::-1]).save(place / f"{picture.stem}.png")
    return folder


def test_the_parts_add_up_to_the_wall_time_of_the_process(unseen: Path, tmp_path: Path) -> None:
    """Up to when the profile is written. Then the process ends: 0.26 s alone, 0.9 where others compute (by hand)."""
    out = tmp_path / "run"
    began = time.time()
    done = child("fit", unseen, "--out", out, "--train", "head", "--profile")
    assert done.code == 0, done.err
    outside = (out / "profile.json").stat().st_mtime - began
    profile = json.loads((out / "profile.json").read_text())
    add_up(profile)
    assert abs(profile["seconds"] - outside) <= 0.01 * outside + 0.1
    parts = profile["parts"]
    assert {"start", "scan", "prepare", "cache", "sort", "probe", "similarity", "write", *PASS} <= set(parts)
    phases = {(row["phase"], row["part"]) for row in profile["rows"]}
    for phase in ("embed", "finish", "explain"):
        assert (phase, "decode") in phases, f"{phase} passes pictures through the stream"
    for phase in ("similarity", "inspect"):
        assert (phase, "decode") not in phases, f"{phase} looks at squares that embed has kept"
        assert phase in {row["phase"] for row in profile["rows"]}
    shown = done.out[done.out.index(f"Where {profile['seconds']:.2f} s went.") :]
    for name, seconds in parts.items():
        assert seconds < 0.005 or f"  {name} " in shown


def test_one_document_on_stdout_and_the_table_beside_it(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = headstart("fit", photos, "--out", out, "--train", "head", "--profile", "--json")
    assert done.code == 0, done.err
    assert done.json == json.loads((out / "result.json").read_text())
    assert done.json["config"]["profile"] is True and "write" not in done.json["seconds"]
    assert "s went." in done.err
    profile = json.loads((out / "profile.json").read_text())
    add_up(profile)
    again = headstart("fit", photos, "--out", out, "--train", "head", "--resume", "--profile")
    assert f"Where {profile['seconds']:.2f} s went." in again.out, "a finished run keeps its profile"
    assert headstart("fit", photos, "--out", out, "--train", "head", "--overwrite").code == 0
    assert not (out / "profile.json").exists(), "it was about the run before"
    again = headstart("fit", photos, "--out", out, "--resume", "--profile")
    assert again.code == 0 and "No profile" in again.out


def test_a_race_is_training(few_digits: Path, hurried: None, tmp_path: Path) -> None:
    budget = f"{STEPS_OF_FOLD + STEPS_OF_ALL}steps"
    asked = ("fit", few_digits, "--train", "last-1", "--budget", budget, "--profile", "--out", tmp_path / "run")
    assert headstart(*asked).code == 0
    profile = json.loads((tmp_path / "run" / "profile.json").read_text())
    add_up(profile)
    phases = {(row["phase"], row["part"]) for row in profile["rows"]}
    assert {("race", "train"), ("refit", "train"), ("plan", "plan"), ("race", "decode")} <= phases


@pytest.mark.slow
def test_from_python(photos: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    api.fit(photos, tmp_path / "run", train="head", profile=True)
    outside = time.perf_counter() - began
    profile = json.loads((tmp_path / "run" / "profile.json").read_text())
    add_up(profile)
    assert profile["seconds"] < outside, "counted from the call, not from the start of the process"


# --- what a budget counts from --------------------------------------------------------------------------------------


def asked_for(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> float:
    """The total that the clock shows when the work begins."""
    found: list[float] = []

    class BegunError(Exception):
        pass

    def begin(*given: Any) -> None:
        found.append(next(g for g in given if isinstance(g, Clock)).seconds()["total"])
        raise BegunError

    monkeypatch.setattr("headstart.pipeline.fit", begin)
    monkeypatch.setattr("headstart.planning.plan_data", begin)
    with pytest.raises(BegunError):
        call()
    return found[0]


@pytest.mark.parametrize("name", ["train", "plan"])
def test_a_budget_counts_from_the_call_whoever_shows_progress(
    name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = getattr(api, name)
    assert asked_for(monkeypatch, lambda: call(photos, progress=Silent())) < 0.5


def test_the_budget_of_a_command_counts_from_the_start_of_its_process(few_digits: Path, tmp_path: Path) -> None:
    code = """
import sys, time
time.sleep(1.0)
from headstart import planning
planning.plan_data = lambda data, config, progress, clock: {"seconds": clock.seconds()} | dict.fromkeys(
    ("lines", "flips"), []) | {"similarity": {"why": ""}, "frozen": {"depths": [], "top1": None}}
from headstart.cli.main import main
main()
"""
    done = child("plan", few_digits, "--json", code=code)
    assert done.code == 0, done.err
    assert 1.0 <= done.json["seconds"]["total"] < 60


@pytest.mark.slow
def test_copies_in_another_folder_decode_nothing(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    assert headstart("fit", photos, "--out", tmp_path / "one", "--train", "head").code == 0
    asked = ("fit", tmp_path / "copy", "--out", tmp_path / "two", "--train", "head", "--profile")
    assert headstart(*asked).code == 0
    rows = json.loads((tmp_path / "two" / "profile.json").read_text())["rows"]
    spent = {row["part"]: row["seconds"] for row in rows if row["phase"] == "embed"}
    assert "derive" in spent  # hashes of the files
    assert sum(spent.get(part, 0.0) for part in ("decode", "resize", "compute")) < 0.005
