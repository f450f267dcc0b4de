"""Embedding at scale on this machine, in real processes, under failure. Two cores prove correctness, not throughput."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commands import headstart

from fake_embedders import begin, fake_pictures
from headstart.embedding.embed import EmbedOptions, embed
from headstart.errors import MachineError
from headstart.scaling.embed import embed_folder, finish_folder
from headstart.scaling.ledger import Ledger
from headstart.scaling.local import LocalBackend
from headstart.scaling.part import QUARANTINED, read_part
from headstart.scaling.spec import Settings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX; the extra [scale] is for Linux and macOS")
HASHING = "fake_embedders:hashing"
DRIVER = """
import sys
from pathlib import Path
from headstart.scaling.embed import finish_folder
from headstart.scaling.local import LocalBackend
if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
print(finish_folder(Path(sys.argv[1]), LocalBackend(2, "fake_embedders:hashing")))
"""


@pytest.fixture(autouse=True)
def reachable(monkeypatch):
    """Child processes find the fake embedders."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def parts(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "parts").glob("part-*"))}


def rows(folder):
    return [row for path in sorted((folder / "parts").glob("part-*")) for row in [read_part(path)]]


def test_undisturbed_by_hand_and_by_children(tmp_path):
    """The same files from one child, from two, and ids exactly once."""
    paths = fake_pictures(tmp_path / "in", 100, {17: b"bad", 60: b"bad"})
    for name, workers in (("one", 1), ("two", 2)):
        begin(tmp_path / name, paths, 8)
        counts = finish_folder(tmp_path / name, LocalBackend(workers, HASHING))
        assert (counts.ok, counts.bad, counts.chunks, counts.computed) == (98, 2, 13, 13)
    assert parts(tmp_path / "one") == parts(tmp_path / "two")
    assert np.concatenate([part.ids for part in rows(tmp_path / "one")]).tolist() == list(range(100))
    assert (tmp_path / "one" / "_SUCCESS.json").read_bytes() == (tmp_path / "two" / "_SUCCESS.json").read_bytes()
    assert finish_folder(tmp_path / "one", LocalBackend(1, HASHING)).computed == 0


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(tmp_path, monkeypatch):
    """SIGKILL at three seeded moments (twenty: benchmarks/scale_kills.py); only missing chunks are computed."""
    paths = fake_pictures(tmp_path / "in", 120)
    begin(tmp_path / "whole", paths, 8)
    finish_folder(tmp_path / "whole", LocalBackend(2, HASHING))
    begin(tmp_path / "emb", paths, 8)
    monkeypatch.setenv("FAKE_SLEEP", "0.01")
    for wanted in np.random.default_rng(8).integers(1, 5, 3).tolist():
        before = set(parts(tmp_path / "emb"))
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "emb")])
        limit = time.monotonic() + 30
        while len(set(parts(tmp_path / "emb")) - before) < wanted and time.monotonic() < limit:
            time.sleep(0.005)
        driver.kill()
        driver.wait()
        time.sleep(0.1)  # its children notice that it is gone
    there = parts(tmp_path / "emb")
    assert 3 <= len(there) < 15
    count = tmp_path / "count"
    monkeypatch.setenv("FAKE_COUNT", str(count))
    counts = finish_folder(tmp_path / "emb", LocalBackend(2, HASHING))
    assert counts.computed == 15 - len(there)
    computed = Counter(count.read_text().split())
    assert len(computed) == 120 - 8 * len(there) and set(computed.values()) == {1}
    assert parts(tmp_path / "emb") == parts(tmp_path / "whole")
    assert not list((tmp_path / "emb" / "parts").glob(".tmp-*"))


def test_a_killed_worker_loses_its_chunk_only(tmp_path, monkeypatch):
    paths = fake_pictures(tmp_path / "in", 64)
    begin(tmp_path / "whole", paths, 8)
    finish_folder(tmp_path / "whole", LocalBackend(2, HASHING))
    begin(tmp_path / "emb", paths, 8)
    monkeypatch.setenv("FAKE_SLEEP", "0.01")
    monkeypatch.setenv("FAKE_COUNT", str(tmp_path / "count"))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "emb")])
    second = "00008.jpg"  # of the second chunk: by now both are being worked on, or the first is done
    while not (tmp_path / "count").exists() or second not in (tmp_path / "count").read_text():
        time.sleep(0.005)
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    if not children.exists():
        driver.wait()
        pytest.skip("this system does not list children")
    workers = [int(pid) for task in children.parents[1].iterdir() for pid in (task / "children").read_text().split()]
    os.kill(workers[0], signal.SIGKILL)
    assert driver.wait(timeout=60) == 0
    assert parts(tmp_path / "emb") == parts(tmp_path / "whole")
    assert 64 <= len((tmp_path / "count").read_text().split()) <= 64 + 8
    assert not (tmp_path / "emb" / "attempts").exists()


def test_a_poison_picture_is_found_and_quarantined(tmp_path):
    paths = fake_pictures(tmp_path / "in", 8, {5: b"poison", 6: b"raise", 7: b"bad"})
    begin(tmp_path / "emb", paths, 2)
    counts = finish_folder(tmp_path / "emb", LocalBackend(2, HASHING))
    assert (counts.ok, counts.bad, counts.quarantined) == (5, 3, 2)
    errors = [error for part in rows(tmp_path / "emb") for error in part.errors]
    assert {i: e for i, e in enumerate(errors) if e} == {5: QUARANTINED, 6: QUARANTINED, 7: "damaged"}
    healthy = fake_pictures(tmp_path / "well", 8)
    begin(tmp_path / "whole", healthy, 2)
    finish_folder(tmp_path / "whole", LocalBackend(1, HASHING))
    for sick, well in zip(rows(tmp_path / "emb"), rows(tmp_path / "whole"), strict=True):
        good = np.array([error is None for error in sick.errors])
        for name in sick.columns:
            np.testing.assert_array_equal(sick.columns[name][good], well.columns[name][good])


def test_a_worker_that_cannot_start_is_not_the_pictures_fault(tmp_path):
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 8), 4)
    with pytest.raises(MachineError, match=r"cannot start.*no engine here"):
        finish_folder(tmp_path / "emb", LocalBackend(2, "fake_embedders:cannot_start"))
    assert not (tmp_path / "emb" / "attempts").exists() and not parts(tmp_path / "emb")


def test_a_full_disk_ends_it_and_room_goes_on(tmp_path):
    """RLIMIT_FSIZE stands for the disk: the write fails in the same place, and no half part is taken for a whole."""
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 200), 100)
    full = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path / "emb"), "60000"], capture_output=True, text=True
    )
    assert full.returncode != 0
    assert "cannot be written (File too large): make room" in full.stderr.splitlines()[-1]
    assert not parts(tmp_path / "emb") and not list((tmp_path / "emb" / "parts").iterdir())
    assert finish_folder(tmp_path / "emb", LocalBackend(2, HASHING)).computed == 2


def test_two_drivers(tmp_path, monkeypatch):
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 64), 8)
    monkeypatch.setenv("FAKE_SLEEP", "0.03")
    first = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "emb")])
    while not (tmp_path / "emb" / "lock").exists():
        time.sleep(0.01)
    with pytest.raises(MachineError, match=f"is being worked on by process {first.pid}"):
        finish_folder(tmp_path / "emb", LocalBackend(1, HASHING))
    assert first.wait(timeout=60) == 0
    assert Ledger(tmp_path / "emb").success() is not None


def test_real_pictures_are_what_the_ordinary_pass_gives(photos, lite0, tmp_path):
    """The command line, with an engine of one thread per worker; then the same call again does nothing."""
    call = ["embed", str(photos), "--out", str(tmp_path / "emb"), "--device", "cpu", "--rows", "16", "--json"]
    first = headstart(*call)
    assert first.code == 0, first.err
    assert (first.json["rows"], first.json["ok"], first.json["computed"]) == (50, 50, 4)
    assert headstart(*call).json["computed"] == 0
    as_listed = headstart("embed", tmp_path / "emb", "--out", tmp_path / "emb")
    assert as_listed.code == 0 and as_listed.out.startswith("50 pictures in 4 parts")
    found = rows(tmp_path / "emb")
    pictures = [Path(uri) for part in found for uri in part.uris]
    labels = [label for part in found for label in part.labels]
    assert labels == [picture.parent.name for picture in pictures]
    ordinary = embed(pictures, lite0, EmbedOptions(device="cpu"))
    for depth, vectors in zip(ordinary.depths, ordinary.vectors, strict=True):
        ours = np.concatenate([part.columns[f"vector.{depth.name}"] for part in found])
        np.testing.assert_allclose(ours.astype(np.float32), vectors.astype(np.float32), rtol=2e-3, atol=2e-3)
    hashes = np.concatenate([part.columns["pixel_hash"] for part in found])
    assert [row.tobytes() for row in hashes] == ordinary.pixel_hashes
    other = headstart(*call[:-3], "--rows", "8", "--json")
    assert other.code == 2 and "begun with rows_per_chunk 16, not 8" in other.err


def test_a_list_of_odd_places(photos, lite0, tmp_path):
    """Missing, empty and damaged pictures are rows with their reason."""
    good = sorted(photos.rglob("*.png"))[:2]
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(good[0].read_bytes()[:200])
    table = tmp_path / "list.csv"
    table.write_text(f"uri,label\n{good[0]},a\nfile://{good[1]},b\nempty.jpg,a\ncut.png,b\nnone.jpg,a\n")
    counts = embed_folder(table, tmp_path / "emb", LocalBackend(1), settings=Settings(device="cpu"))
    assert (counts.ok, counts.bad) == (2, 3)
    (part,) = rows(tmp_path / "emb")
    assert part.errors == [None, None, "empty file", "truncated", "file not found"]
    assert not part.columns["vector.last"][2:].any()
