"""The demo's manifest: labels by the defect probability, groups that follow the modules."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

from headstart.data import solar_cells
from headstart.errors import MachineError


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(solar_cells.manifest())))


def test_every_cell_is_there(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 2624
    assert all(Path(row["path"]).is_file() for row in rows[::97])
    assert Counter(row["label"] for row in rows) == {"functional": 1803, "defective": 821}


def test_groups_are_runs_of_at_most_a_module(rows: list[dict[str, str]]) -> None:
    names = [row["group"] for row in rows]
    assert max(Counter(names).values()) == solar_cells.MODULE
    seen: list[str] = []
    for name in names:
        if not seen or seen[-1] != name:
            assert name not in seen, "a group is one contiguous run of cells"
            seen.append(name)
    assert len(seen) == 45


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solar_cells, "find_spec", lambda _name: None)
    with pytest.raises(MachineError, match=r"headstart\[demo\]"):
        solar_cells.manifest()
