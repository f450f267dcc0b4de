"""No connection and no file in HOME from any command, with CI unset (tools that report usage are silent under CI)."""

from __future__ import annotations

import json
import os
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

# Several commands in one process; after each its name, exit code, the files in HOME and whether it tried to connect.
IN_TURN = """
import json, os, sys
from pathlib import Path
from headstart.cli.main import _run
home, log = Path(os.environ["HOME"]), Path(os.environ["GUARD_LOG"])
for command in json.loads(sys.argv[1]):
    code = _run(command)
    print()
    print(json.dumps([command[0], code, [str(p) for p in home.rglob("*") if p.is_file()], log.exists()]), flush=True)
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
    first = ("fit", few_digits, "--out", run, "--train", "last-1", "--budget", "1steps")
    rest = [
        ("plan", few_digits, "--budget", "1s"),
        ("predict", run, picture),
        ("evaluate", run, few_digits),
        ("audit", few_digits),
        ("backbones",),
        ("cache",),
        ("cache", "--clear"),
        ("--version",),
    ]
    for done in (child(*first, env=env), child(json.dumps(rest, default=str), code=IN_TURN, env=env)):
        assert done.code == 0, (done.out, done.err)
        assert not (tmp_path / "connections").exists(), (tmp_path / "connections").read_text()
    told = [json.loads(line) for line in done.out.splitlines() if line.startswith("[")]
    assert told == [[command[0], 0, [], False] for command in rest]
    assert files_below(tmp_path / "home") == set()
