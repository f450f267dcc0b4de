"""Arrays in files behave like arrays and leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from headstart.finetune.scratch import disk_array


def test_a_disk_array_holds_numbers_and_its_file_goes_with_it(tmp_path: Path) -> None:
    array = disk_array(tmp_path / "new", (5, 3), np.float16)
    assert array.shape == (5, 3) and not array.any()
    array[2] = 1.5
    np.testing.assert_array_equal(np.take(array, [2, 0], axis=0), [[1.5] * 3, [0] * 3])
    del array
    assert list((tmp_path / "new").iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed_later(tmp_path: Path) -> None:
    old, young = tmp_path / ".tmp-old", tmp_path / ".tmp-young"
    for file in (old, young):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    disk_array(tmp_path, (1,), np.uint8)
    assert not old.exists() and young.exists()


def test_no_space_is_said_at_once_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headstart.finetune.scratch._take_space", full)
    with pytest.raises(OSError, match="No space"):
        disk_array(tmp_path, (100, 100), np.float16)
    assert list(tmp_path.iterdir()) == []
