"""Ctrl-C: 130 while there is no answer, the answer once there is one. A killed run is finished by the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import headstart, one_line, steady

from headstart import evidence, looking

SLOW_GRAPH = """
import time
from headstart.backbone.backbone import _Export
from headstart.cli.main import main

wait = _Export.wait
_Export.wait = lambda export: (time.sleep(6), wait(export))
main()
"""


def test_interrupted_before_an_answer(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(looking, "heads", stop)
    done = headstart("fit", photos, "--out", tmp_path / "r", "--train", "head")
    assert done.code == 130
    assert "interrupted" in one_line(done)
    assert not (tmp_path / "r" / "classifier").exists()
    monkeypatch.undo()
    assert headstart("fit", photos, "--out", tmp_path / "r", "--train", "head", "--resume").code == 0


def test_interrupted_after_the_answer(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evidence, "gather", stop)
    done = headstart("fit", photos, "--out", tmp_path / "r", "--train", "head", "--json")
    assert done.code == 0
    assert done.json["interrupted"] is True
    assert done.json["accuracy"]["series_top1"] is None
    picture = next(p for p in sorted(photos.rglob("*")) if p.is_file())
    assert headstart("predict", tmp_path / "r", picture).code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ on Windows")
@pytest.mark.parametrize(
    ("sent", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_stopped_by_a_signal_and_resumed(photos: Path, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    """With an empty cache the signal arrives while the graph is made; the next run ends like an undisturbed one."""
    env = {**os.environ, "HEADSTART_CACHE": str(tmp_path / "cache")}
    arguments = ["fit", str(photos), "--out", str(tmp_path / "r"), "--train", "head", "--resume"]
    command = [sys.executable, "-m", "headstart", *arguments]
    slow = [sys.executable, "-c", SLOW_GRAPH, *arguments]
    with subprocess.Popen(slow, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        next(line for line in child.stderr if line.startswith("embed"))
        time.sleep(1.0)
        child.send_signal(sent)
        assert child.wait(timeout=30) == code
    assert not (tmp_path / "r" / "classifier").exists()
    again = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert again.returncode == 0, again.stderr
    undisturbed = headstart("fit", photos, "--out", tmp_path / "other", "--train", "head", "--json").json
    assert steady(json.loads((tmp_path / "r" / "result.json").read_text())) == steady(undisturbed)
