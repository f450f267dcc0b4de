"""What is done, what is to do, what crashed; and who may work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from fake_embedders import Hashing, begin, fake_pictures
from headstart.errors import DataError, MachineError, UsageError
from headstart.scaling.ledger import GIVE_UP, Ledger
from headstart.scaling.lock import locked
from headstart.scaling.part import part_path
from headstart.scaling.spec import Settings, check_same, read_spec
from headstart.scaling.worker import Worker


@pytest.fixture
def begun(tmp_path):
    """20 pictures in 3 chunks, one of them bad; nothing embedded yet."""
    begin(tmp_path / "emb", fake_pictures(tmp_path / "in", 20, {4: b"bad"}), 8)
    return tmp_path / "emb"


def embed(folder):
    worker = Worker(folder, Hashing(read_spec(folder)))
    return [worker.run(chunk.id) for chunk in Ledger(folder).pending()]


def test_pending_shrinks_and_verify_ends_it(begun):
    ledger = Ledger(begun)
    assert len(ledger.pending()) == 3
    with pytest.raises(DataError, match="3 of 3 parts are missing"):
        ledger.verify()
    done = embed(begun)
    assert [(one.ok, one.bad) for one in done] == [(7, 1), (8, 0), (4, 0)]
    assert ledger.pending() == [] and ledger.success() is None
    counts = ledger.verify()
    assert (counts.rows, counts.ok, counts.bad, counts.quarantined) == (20, 19, 1, 0)
    assert Ledger(begun).success() == counts


def test_a_damaged_part_is_done_again(begun):
    embed(begun)
    ledger = Ledger(begun)
    first, second, _ = (part_path(begun, chunk.id) for chunk in ledger.chunks)
    whole = first.read_bytes()
    first.write_bytes(whole[:-9])
    middle = bytearray(second.read_bytes())
    middle[len(middle) // 3] ^= 255
    second.write_bytes(middle)
    assert [chunk.number for chunk in ledger.pending()] == [0]  # the cheap check sees what is cut
    embed(begun)
    with pytest.raises(DataError, match="1 of 3 parts"):  # the full one sees everything
        ledger.verify()
    assert [chunk.number for chunk in ledger.pending()] == [1]
    embed(begun)
    ledger.verify()
    assert first.read_bytes() == whole


def test_verify_tidies_up(begun):
    embed(begun)
    for name in (".tmp-dead", "part-000009-00000000.parquet"):
        (begun / "parts" / name).write_bytes(b"x")
    Ledger(begun).verify()
    assert sorted(os.listdir(begun / "parts")) == sorted(part_path(begun, c.id).name for c in Ledger(begun).chunks)


def test_crashes_are_counted_and_end(begun):
    ledger = Ledger(begun)
    chunk = ledger.chunks[0].id
    assert [ledger.crashed(chunk, "killed\nby signal 9") for _ in range(GIVE_UP - 1)] == list(range(1, GIVE_UP))
    with pytest.raises(MachineError, match="is there enough memory"):
        ledger.crashed(chunk, "again")
    ledger.settled(chunk)
    assert ledger.attempts(chunk) == 0


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(DataError, match="is not an embedded folder"):
        Ledger(tmp_path)


def test_another_space_is_refused(begun, tmp_path):
    there = read_spec(begun)
    other = begin(tmp_path / "other", fake_pictures(tmp_path / "in", 19), 8)
    with pytest.raises(UsageError, match="other pictures"):
        check_same(begun, there, other)
    more = begin(tmp_path / "more", fake_pictures(tmp_path / "in", 20, {4: b"bad"}), 8, weights_hash="x")
    with pytest.raises(UsageError, match="weights_hash 'w', not 'x'"):
        check_same(begun, there, more)


def test_rows_of_a_chunk_by_rule():
    assert [Settings().chunk_rows(n) for n in (10, 5000, 10**8)] == [64, 157, 4096]
    assert Settings(rows_per_chunk=7).chunk_rows(10**8) == 7


def test_one_driver_at_a_time(tmp_path):
    code = "import sys,pathlib; from headstart.scaling.lock import locked\nwith locked(pathlib.Path(sys.argv[1])): pass"
    with locked(tmp_path):
        second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert f"is being worked on by process {os.getpid()}" in second.stderr
    assert not (tmp_path / "lock").exists()
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_the_lock_of_the_dead_is_taken_over(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holders = [
        {"pid": dead.pid, "host": socket.gethostname(), "token": "t", "born": "1"},
        {"pid": os.getpid(), "host": socket.gethostname(), "token": "t", "born": "1"},  # the number was given again
        {"damaged": True},
    ]
    for holder in holders:
        (tmp_path / "lock").write_text(json.dumps(holder))
        if "host" not in holder:
            os.utime(tmp_path / "lock", (1, 1))
        with locked(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_a_driver_on_another_machine_lives_while_its_heart_beats(tmp_path):
    file = tmp_path / "lock"
    file.write_text(json.dumps({"pid": 1, "host": "elsewhere", "token": "t", "born": "1"}))
    with pytest.raises(MachineError, match="process 1 on elsewhere"), locked(tmp_path):
        pass
    os.utime(file, (1, 1))
    with locked(tmp_path):
        pass
