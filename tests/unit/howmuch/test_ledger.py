"""The ledger gives back exactly what was written, and nothing else."""

from __future__ import annotations

import os

import numpy as np
import pytest

from headstart.howmuch.arm import Arm, FoldResult
from headstart.howmuch.ledger import Ledger, kept_epochs

ARM = Arm("last-1", 1e-3, backbone="net/one")


def unit(blend=True):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 3, 4)).astype(np.float32)
    return FoldResult(np.array([4, 7, 9]), logits, np.array([1.0, 2.5]), 12, logits[0] if blend else None)


@pytest.mark.parametrize("blend", [True, False])
def test_there_and_back(tmp_path, blend):
    ledger = Ledger(tmp_path / "race", "f")
    ledger.write(ARM, 1, 2, unit(blend))
    found = ledger.read(ARM, 1, 2)
    wanted = unit(blend)
    for name in ("rows", "logits", "seconds"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert (found.steps, found.failed, found.blend is not None) == (12, None, blend)
    assert found.logits.dtype == np.float32


def test_failures_are_kept(tmp_path):
    ledger = Ledger(tmp_path, "f")
    empty = FoldResult(np.array([1]), np.zeros((0, 1, 0), np.float32), np.zeros(0), 3, failed="out of memory")
    ledger.write(ARM, 0, 0, empty)
    assert ledger.read(ARM, 0, 0).failed == "out of memory"


def test_other_races_and_units_are_not_read(tmp_path):
    ledger = Ledger(tmp_path, "f")
    ledger.write(ARM, 0, 0, unit())
    assert Ledger(tmp_path, "g").read(ARM, 0, 0) is None
    assert ledger.read(ARM, 0, 1) is None
    os.replace(ledger.path(ARM, 0, 0), ledger.path(ARM, 0, 1))
    assert ledger.read(ARM, 0, 1) is None


def test_damage_is_seen_wherever_it_is(tmp_path):
    ledger = Ledger(tmp_path, "f")
    ledger.write(ARM, 0, 0, unit())
    path = ledger.path(ARM, 0, 0)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert ledger.read(ARM, 0, 0) is None
    for at in rng.integers(0, len(whole), 300):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        found = ledger.read(ARM, 0, 0)
        if found is not None:  # a byte that carries nothing, such as a date in the archive
            np.testing.assert_array_equal(found.logits, unit().logits)
            np.testing.assert_array_equal(found.rows, unit().rows)


def test_a_pickle_is_not_opened(tmp_path):
    ledger = Ledger(tmp_path, "f")
    np.savez(ledger.path(ARM, 0, 0), facts=np.array([{"a": 1}], dtype=object))
    assert ledger.read(ARM, 0, 0) is None


def test_a_race_that_goes_on_keeps_its_epochs(tmp_path):
    folder = tmp_path / "race"
    assert kept_epochs(folder, 600, 4, resumed=True) == 4
    assert kept_epochs(folder, 600, 7, resumed=True) == 4, "more time is left when vectors come from the cache"
    assert kept_epochs(folder, 700, 7, resumed=True) == 7, "other pictures"
    (folder / "epochs.json").write_text("{")
    assert kept_epochs(folder, 600, 5, resumed=True) == 5
    assert kept_epochs(folder, 600, 9, resumed=False) == 9, "overwritten: another budget, nothing to go on with"
    assert kept_epochs(folder, 600, 3, resumed=True) == 9
