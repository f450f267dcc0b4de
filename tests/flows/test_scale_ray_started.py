"""embed --on ray without any Ray: one is started for the command, on this machine only, and is gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import headstart

from headstart.errors import MachineError
from headstart.scaling.backend import backend_of
from headstart.scaling.manifest import write_manifest
from headstart.scaling.ray_session import connected
from headstart.scaling.ray_worker import RayWorker

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the extra [scale] is for Linux and macOS")
LISTENS = "0A"  # in /proc/net/tcp
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def family(pid):
    """Processes below `pid`, as far as they can be seen."""
    found, waiting = [], [pid]
    while waiting:
        try:
            tasks = Path(f"/proc/{waiting.pop()}/task").iterdir()
            below = [child for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
        found += below
        waiting += below
    return found


def listening(pids):
    """Addresses (hex) on which any of the processes waits for connections."""
    inodes = set()
    for pid in pids:
        try:
            links = [link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {line[1].split(":")[0] for line in lines if line[3] == LISTENS and line[9] in inodes}


def left_after(seconds, pids):
    """Those of `pids` that are still there after `seconds`: what was killed is there until its parent has noticed."""
    end = time.monotonic() + seconds
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.1)
    return left


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at the processes of Linux")
def test_a_ray_of_its_own(photos, lite0, tmp_path):
    """The parts are those of --on local; it listens on the loopback only; no file, no process, no word is left."""
    options = ["--device", "cpu", "--rows", "32", "--json"]
    command = [sys.executable, "-m", "headstart", "embed", photos, "--out", tmp_path / "ray", "--on", "ray", *options]
    home = tmp_path / "home"
    home.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**clean, "HOME": str(home), "RAY_ADDRESS": "local"},
    )  # fmt: skip
    seen, heard = set(), set()
    while process.poll() is None:
        seen |= set(relatives := family(process.pid))
        heard |= listening([process.pid, *relatives])
        time.sleep(0.2)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert (json.loads(out)["ok"], json.loads(out)["computed"]) == (50, 2)
    assert "ray" not in err.lower()
    assert len(seen) > 3 and heard and heard <= LOOPBACK
    assert not left_after(10.0, seen), "these processes of Ray are still there"
    assert not list(home.iterdir()) and not list(Path("/tmp").glob(f"headstart-ray-{process.pid}-*"))
    local = headstart("embed", photos, "--out", tmp_path / "local", *options)
    assert local.code == 0, local.err
    for part in (tmp_path / "local" / "parts").iterdir():
        assert part.read_bytes() == (tmp_path / "ray" / "parts" / part.name).read_bytes()


def test_a_folder_that_is_not_shared(tmp_path):
    """What a worker on another machine says that sees no such folder, or another one of that name."""
    said = RayWorker(str(tmp_path / "none"), "hash", None, {}).prepare()
    assert said["error"] == "MachineError" and "must lie on storage that every machine" in said["message"]
    from fake_embedders import fake_spec
    from headstart.scaling.spec import write_spec

    write_spec(tmp_path, fake_spec(write_manifest(tmp_path, [("a", None, None)], 8)))
    assert "is another folder" in RayWorker(str(tmp_path), "hash", None, {}).prepare()["message"]


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"pip install 'headstart\[scale\]'"), connected("ray"):
        pass


def test_an_unknown_place():
    with pytest.raises(Exception, match=r"--on 'spark': say local, ray, or ray://HOST:PORT"):
        backend_of("spark")
