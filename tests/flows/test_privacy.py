"""No connection and no file in HOME from any command, with CI unset (tools that report usage are silent under CI)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from commands import child, files_below

GUARD = """
import os, socket
def _refuse(*a, **k):
    with open(os.environ["GUARD_LOG"], "a") as f:
        f.write(repr(a) + "\\n")
    raise OSError("no connections in this test")
socket.socket.connect = _refuse
socket.socket.connect_ex = _refuse
socket.getaddrinfo = _refuse
"""


@pytest.fixture
def guarded(tmp_path: Path) -> dict[str, str]:
    """Environment of a child whose every connection is logged and refused, with an empty HOME of its own."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "home").mkdir()
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    return {
        **env,
        "HOME": str(tmp_path / "home"),
        "GUARD_LOG": str(tmp_path / "connections"),
        "PYTHONPATH": str(tmp_path / "site"),
    }


def test_the_guard_guards(guarded: dict[str, str], tmp_path: Path) -> None:
    child(code="import socket; socket.create_connection(('127.0.0.1', 9))", env=guarded)
    assert (tmp_path / "connections").exists()


def test_no_command_connects_or_writes_to_home(few_digits: Path, guarded: dict[str, str], tmp_path: Path) -> None:
    # A cache of its own, so that the cold path (weights, export of the graph) is watched too.
    env = {**guarded, "HEADSTART_CACHE": str(tmp_path / "cache")}
    run = tmp_path / "r"
    picture = next(p for p in sorted(few_digits.rglob("*")) if p.is_file())
    commands = [
        ("fit", few_digits, "--out", run, "--train", "last-1", "--budget", "1steps"),
        ("plan", few_digits, "--budget", "1s"),
        ("predict", run, picture),
        ("evaluate", run, few_digits),
        ("audit", few_digits),
        ("backbones",),
        ("cache",),
        ("cache", "--clear"),
        ("--version",),
    ]
    for command in commands:
        done = child(*command, env=env)
        assert done.code == 0, (command, done.err)
        assert files_below(tmp_path / "home") == set(), command
        assert not (tmp_path / "connections").exists(), command
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
