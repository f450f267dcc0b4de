"""Rows give back what was put there, from memory and from files; files take their space at once and leave nothing."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headstart.finetune.scratch import FileRows, MemoryRows, Rows


@pytest.fixture(params=["memory", "file", "file of a system without pread"])
def rows(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """40 rows of 3 x 5 numbers."""
    if request.param == "memory":
        return MemoryRows(40, (3, 5), np.float16)
    if request.param != "file":
        monkeypatch.delattr(os, "pread", raising=False)
        monkeypatch.delattr(os, "pwrite", raising=False)
    return FileRows(tmp_path, 40, (3, 5), np.float16)


def test_rows_come_back_as_they_were_put(rows: Rows) -> None:
    assert rows.nbytes == 40 * 15 * 2 and not rows.take(np.arange(40)).any()
    put = np.arange(40 * 15, dtype=np.float32).reshape(40, 3, 5)
    for at in (7, 39, 0):
        rows.put(at, put[at])
    rows.put(3, put[3].reshape(5, 3).T)  # not contiguous
    found = rows.take(np.array([39, 7, 7, 1, 3]))
    assert found.dtype == np.float16 and found.flags.c_contiguous and found.flags.writeable
    np.testing.assert_array_equal(found, [put[39], put[7], put[7], np.zeros((3, 5)), put[3].reshape(5, 3).T])
    assert rows.take(np.array([], np.int64)).shape == (0, 3, 5)


def test_several_threads_write_and_read_at_once(rows: Rows) -> None:
    def there_and_back(at: int) -> bool:
        rows.put(at, np.full((3, 5), at))
        return bool((rows.take(np.array([at])) == at).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(40)))
    assert (rows.take(np.arange(40)) == np.arange(40)[:, None, None]).all()


def test_a_file_goes_with_its_rows(tmp_path: Path) -> None:
    rows = FileRows(tmp_path / "new", 5, (3,), np.uint8)
    rows.put(2, np.full(3, 200))
    del rows
    assert list((tmp_path / "new").iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed_later(tmp_path: Path) -> None:
    old, young = tmp_path / ".tmp-old", tmp_path / ".tmp-young"
    for file in (old, young):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    FileRows(tmp_path, 1, (1,), np.uint8)
    assert not old.exists() and young.exists()


def test_no_space_is_said_at_once_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headstart.finetune.scratch._take_space", full)
    with pytest.raises(OSError, match="No space"):
        FileRows(tmp_path, 100, (100,), np.float16)
    assert list(tmp_path.iterdir()) == []
