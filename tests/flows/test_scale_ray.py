"""Embedding on Ray, on a cluster of several nodes on this machine, under failure. Two cores prove correctness only."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from fake_embedders import begin, fake_pictures
from headstart.errors import MachineError
from headstart.scaling import ray_session
from headstart.scaling.embed import finish_folder
from headstart.scaling.ledger import Ledger
from headstart.scaling.local import LocalBackend
from headstart.scaling.part import QUARANTINED, read_part
from headstart.scaling.ray_backend import RayBackend

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="Ray's clusters are for Linux and macOS"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves its log files and processes to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # the same, said by pytest
]
HASHING = "fake_embedders:hashing"
TESTS = str(Path(__file__).parents[1])
DRIVER = """
import json, sys
from pathlib import Path
from headstart.scaling.embed import finish_folder
from headstart.scaling.ray_backend import RayBackend
on, folder, environment = sys.argv[1:]
print(finish_folder(Path(folder), RayBackend(on, None, "fake_embedders:hashing", json.loads(environment))).computed)
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def forget_token():
    """Ray reads RAY_AUTH_MODE and the token once."""
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@pytest.fixture(scope="module")
def cluster():
    """A node of two processors, others may join; with token authentication. RAY_ADDRESS names it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", secrets.token_hex(32)),
                            ("RAY_USAGE_STATS_ENABLED", "0"), ("PYTHONPATH", TESTS)):  # fmt: skip
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        forget_token()
        place = tempfile.mkdtemp(prefix="ray-", dir=ray_session._SHORT)  # nobody else finds it
        patch.setenv("RAY_TMPDIR", place)  # here, and not where every Ray does, Cluster notes its address
        Path(place, "ray").mkdir()  # which it expects to be there
        small = {"object_store_memory": 80_000_000, "include_dashboard": False, "temp_dir": place}
        soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 4}  # a lost node is noticed
        head = {"num_cpus": 2, "ray_client_server_port": free_port(), "_system_config": soon, **small}
        made = Cluster(initialize_head=True, head_node_args=head)
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()
        shutil.rmtree(place, ignore_errors=True)
    forget_token()


@pytest.fixture
def pids(tmp_path):
    """A folder in which workers leave their numbers."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def ray(tmp_path, workers=None, **fakes):
    return RayBackend("ray", workers, HASHING, environment(tmp_path, **fakes))


def environment(tmp_path, **fakes):
    named = {f"FAKE_{name.upper()}": str(value) for name, value in fakes.items()}
    return {"PYTHONPATH": TESTS, "FAKE_COUNT": str(tmp_path / "count"), **named}


@contextmanager
def meanwhile(action):
    """`action` in a thread beside the body; what it raises is raised at the end."""
    raised = []

    def run():
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if raised:
        raise raised[0]


def wait_for(what, seconds=60.0):
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def embedded(tmp_path):
    """How often each picture was embedded so far."""
    count = tmp_path / "count"
    return Counter(count.read_text().split()) if count.exists() else Counter()


def lives(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def parts(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "parts").glob("part-*"))}


def whole(folder, paths, rows_per_chunk):
    """The parts as the local backend writes them."""
    begin(folder, paths, rows_per_chunk)
    finish_folder(folder, LocalBackend(2, HASHING))
    return parts(folder)


@pytest.fixture(autouse=True)
def reachable(monkeypatch):
    """Child processes find the fake embedders."""
    monkeypatch.setenv("PYTHONPATH", TESTS)


def test_the_same_files_as_on_this_machine(cluster, tmp_path):
    paths = fake_pictures(tmp_path / "in", 100, {17: b"bad", 60: b"bad"})
    begin(tmp_path / "emb", paths, 8)
    counts = finish_folder(tmp_path / "emb", ray(tmp_path))
    assert (counts.ok, counts.bad, counts.chunks, counts.computed) == (98, 2, 13, 13)
    assert set(embedded(tmp_path).values()) == {1}
    assert parts(tmp_path / "emb") == whole(tmp_path / "whole", paths, 8)
    ids = [read_part(path).ids for path in sorted((tmp_path / "emb" / "parts").iterdir())]
    assert np.concatenate(ids).tolist() == list(range(100))
    assert finish_folder(tmp_path / "emb", "ray").computed == 0


@pytest.mark.slow
def test_a_killed_worker_costs_its_chunk(cluster, tmp_path, pids):
    paths = fake_pictures(tmp_path / "in", 64)
    begin(tmp_path / "emb", paths, 8)

    def kill():
        wait_for(lambda: len(embedded(tmp_path)) > 10)
        os.kill(int(next(pids.iterdir()).name), signal.SIGKILL)

    with meanwhile(kill):
        finish_folder(tmp_path / "emb", ray(tmp_path, sleep=0.02, pids=pids))
    assert parts(tmp_path / "emb") == whole(tmp_path / "whole", paths, 8)
    assert 64 < embedded(tmp_path).total() <= 64 + 8
    assert not (tmp_path / "emb" / "attempts").exists()


@pytest.mark.slow
def test_a_node_comes_late_and_goes_again(cluster, tmp_path, pids, monkeypatch):
    """It gets work; when it is gone, its chunk is done elsewhere, and nobody holds that against the chunk.

    From the third chunk on, the fifth picture is a gate: every worker stands there, in the middle of a chunk.
    """
    paths = fake_pictures(tmp_path / "in", 80, {8 * k + 4: b"gate %d" % k for k in range(2, 10)})
    begin(tmp_path / "emb", paths, 8)
    noted = []
    monkeypatch.setattr(Ledger, "crashed", lambda ledger, chunk_id, why: noted.append(why))
    gate = tmp_path / "gate"
    backend = ray(tmp_path, pids=pids, gate=gate)
    with meanwhile(lambda: finish_folder(tmp_path / "emb", backend)):  # Ray adds nodes in the main thread only
        wait_for(lambda: embedded(tmp_path).total() == 2 * 8 + 2 * 4)
        node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        wait_for(lambda: embedded(tmp_path).total() == 2 * 8 + 3 * 4)
        cluster.remove_node(node, allow_graceful=False)
        gate.touch()
    assert parts(tmp_path / "emb") == whole(tmp_path / "whole", paths, 8)
    assert 80 + 4 <= embedded(tmp_path).total() <= 80 + 8  # the lost worker may live a little longer than its node
    assert not noted


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(cluster, tmp_path, pids):
    """SIGKILL (twenty random moments: benchmarks/scale_kills.py --on ray); then only missing chunks are computed."""
    paths = fake_pictures(tmp_path / "in", 96)
    begin(tmp_path / "emb", paths, 8)
    fakes = json.dumps(environment(tmp_path, sleep=0.03, pids=pids))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, "ray", str(tmp_path / "emb"), fakes])
    (tmp_path / "emb" / "parts").mkdir(exist_ok=True)
    wait_for(lambda: len(parts(tmp_path / "emb")) > 2)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(lives(path.name) for path in pids.iterdir()))
    there = len(parts(tmp_path / "emb"))
    assert 3 <= there < 12
    (tmp_path / "count").unlink()
    assert finish_folder(tmp_path / "emb", ray(tmp_path)).computed == 12 - there
    assert embedded(tmp_path).total() == 96 - 8 * there and set(embedded(tmp_path).values()) == {1}
    assert parts(tmp_path / "emb") == whole(tmp_path / "whole", paths, 8)


@pytest.mark.slow
def test_a_second_driver_is_sent_away(cluster, tmp_path):
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 16), 8)

    def second():
        wait_for(lambda: embedded(tmp_path))
        with pytest.raises(MachineError, match=f"is being worked on by process {os.getpid()}"):
            finish_folder(tmp_path / "emb", RayBackend())

    with meanwhile(second):
        assert finish_folder(tmp_path / "emb", ray(tmp_path, sleep=0.05)).ok == 16


@pytest.mark.slow
def test_a_poison_picture_is_found_and_quarantined(cluster, tmp_path):
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 6, {2: b"poison", 4: b"bad"}), 2)
    counts = finish_folder(tmp_path / "emb", ray(tmp_path))
    assert (counts.ok, counts.bad, counts.quarantined) == (4, 2, 1)
    errors = [e for path in sorted((tmp_path / "emb" / "parts").iterdir()) for e in read_part(path).errors]
    assert {i: e for i, e in enumerate(errors) if e} == {2: QUARANTINED, 4: "damaged"}


def test_a_worker_that_cannot_start_is_not_the_pictures_fault(cluster, tmp_path):
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 8), 4)
    with pytest.raises(MachineError, match=r"cannot start \(RuntimeError: no engine here"):
        finish_folder(tmp_path / "emb", RayBackend("ray", 1, "fake_embedders:cannot_start", environment(tmp_path)))
    assert not (tmp_path / "emb" / "attempts").exists() and not parts(tmp_path / "emb")


@contextmanager
def small_disk(folder):
    """A disk of 64 KB at `folder`; what is given makes it larger. None where only root may make one."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        yield None
        return
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a worker that is being ended may hold it


@pytest.mark.slow
def test_a_full_disk_ends_it_and_room_goes_on(cluster, tmp_path):
    """Without root the size of a file is limited instead: the write fails in the same place."""
    with small_disk(tmp_path / "disk") as enlarge:
        folder = tmp_path / "disk" / "emb"
        begin(folder, fake_pictures(tmp_path / "in", 200), 100)
        with pytest.raises(MachineError, match=r"cannot be written \((No space left on device|File too large)\): make"):
            finish_folder(folder, ray(tmp_path, **({} if enlarge else {"fsize": 60000})))
        assert not parts(folder)
        if enlarge:
            enlarge()
        assert finish_folder(folder, ray(tmp_path)).computed == 2
        assert Ledger(folder).success().ok == 200


@pytest.mark.slow
def test_two_workers_do_twice_the_work(cluster, tmp_path, pids):
    """Seconds of work per second, once all have begun, with a sleeping embedder: work is handed out in parallel.

    Pictures per second, on a quiet machine: benchmarks/scale_overhead.py.
    """
    rates = []
    for workers, n in ((1, 30), (2, 60)):
        folder, here = tmp_path / str(workers), pids / str(workers)
        here.mkdir()
        begin(folder, fake_pictures(tmp_path / f"in{workers}", n), 5)
        (folder / "parts").mkdir()
        told = []
        backend = ray(tmp_path, workers, sleep=0.1, pids=here)
        backend.work(folder, Ledger(folder).pending(), lambda done, told=told: told.append((time.time(), done)))
        started = [path.stat().st_mtime for path in here.iterdir()]
        assert len(started) == workers
        worked = [(moment - done.seconds, moment) for moment, done in told]
        begun, ended = max(started), max(start for start, _ in worked)  # in between there is work for everybody
        rates.append(sum(max(0, min(end, ended) - max(start, begun)) for start, end in worked) / (ended - begun))
    assert rates[1] / rates[0] >= 1.8


@pytest.mark.slow
def test_through_the_ray_client(cluster, tmp_path):
    """ray://HOST:PORT, as from a laptop outside the cluster that sees the same disk."""
    paths = fake_pictures(tmp_path / "in", 16)
    begin(tmp_path / "emb", paths, 4)
    port = cluster.head_node._ray_params.ray_client_server_port
    command = [sys.executable, "-c", DRIVER, f"ray://127.0.0.1:{port}", str(tmp_path / "emb")]
    done = subprocess.run([*command, json.dumps(environment(tmp_path))], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
    assert parts(tmp_path / "emb") == whole(tmp_path / "whole", paths, 4)


def test_without_the_token_nobody_gets_in(cluster, tmp_path):
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 8), 4)
    command = [sys.executable, "-c", DRIVER, "ray", str(tmp_path / "emb"), "{}"]
    wrong = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64, "RAY_NUM_REDIS_GET_RETRIES": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=wrong)
    assert done.returncode == 1 and "it wants its token: set RAY_AUTH_MODE=token" in done.stderr.splitlines()[-1]
