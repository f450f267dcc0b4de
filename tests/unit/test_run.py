"""The folder of a run: nothing is half-written, nothing that is not ours is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import MachineError, UsageError
from headstart.run import Run, open_run, write_file


def test_json_has_no_nan(tmp_path: Path) -> None:
    Run(tmp_path).write_json("x.json", {"a": float("nan"), "b": [np.float32(0.5), np.int64(3)], "c": (np.nan,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [0.5, 3], "c": [None]}


def test_csv_quotes_what_needs_quotes(tmp_path: Path) -> None:
    Run(tmp_path).write_csv("x.csv", ("path", "why"), [('a,"b"\n.jpg', "x")])
    assert (tmp_path / "x.csv").read_bytes() == b'path,why\r\n"a,""b""\n.jpg",x\r\n'


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_file(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="disk is full"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_foreign_folder_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for when in ("refuse", "resume", "overwrite"):
        with pytest.raises(UsageError, match="not a run"):
            open_run(tmp_path, when)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_is_refused_unless_asked(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", "refuse")
    run.log("start")
    with pytest.raises(UsageError, match="--overwrite"):
        open_run(tmp_path / "r", "refuse")
    assert open_run(tmp_path / "r", "resume") == run
    assert not run.finished


def test_result_of_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        Run(tmp_path).result()
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UsageError, match="not readable JSON"):
        Run(tmp_path).result()


def test_what_is_not_needed_any_more_is_forgotten(tmp_path: Path) -> None:
    run = open_run(tmp_path / "r", "refuse")
    (run.folder / "race").mkdir()
    (run.folder / "race" / "unit.npz").write_bytes(b"x")
    run.log("start")
    run.forget("race")
    run.forget("race")
    assert [p.name for p in run.folder.iterdir()] == ["log.jsonl"]
