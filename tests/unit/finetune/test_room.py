"""What fits where: views go first (never the first one), then files, then the cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.finetune.room import CutShape, disk_room, memory_room, planned_bytes, share_room

SHAPES = {0: CutShape((10, 10, 1), 0, 1), 5: CutShape((5, 4, 2), 10), 6: CutShape((5, 2, 2))}  # 100, 100, 40 bytes


def test_planned_bytes_counts_maps_vectors_and_pixels() -> None:
    assert planned_bytes(10, [0, 5, 6], 3, SHAPES) == {0: 3000, 5: 3000, 6: 1200}


def test_everything_stays_while_there_is_room() -> None:
    room = share_room(10, 3, SHAPES, memory=7200, disk=0)
    assert dict(room.views) == {0: 3, 5: 3, 6: 3} and not room.on_disk and not room.dropped


@pytest.mark.parametrize("memory", range(2400, 7200, 333))
def test_the_largest_lose_views_first_and_the_limit_holds(memory: int) -> None:
    room = share_room(10, 3, SHAPES, memory, disk=10**6)
    assert not room.on_disk and not room.dropped and min(room.views.values()) >= 1
    assert sum(10 * views * SHAPES[cut].view_bytes for cut, views in room.views.items()) <= memory
    assert room.views[6] >= max(room.views[0], room.views[5])


def test_then_the_largest_goes_to_disk_and_leaves_its_room_to_the_views_of_others() -> None:
    room = share_room(10, 3, SHAPES, memory=1500, disk=2000)
    assert len(room.on_disk) == 1 and room.on_disk < {0, 5}
    assert room.views[6] == 1 and not room.dropped
    room = share_room(10, 3, SHAPES, memory=1000, disk=2000)
    assert dict(room.views) == {0: 1, 5: 1, 6: 2} and room.on_disk == {0, 5}


def test_what_fits_nowhere_is_dropped() -> None:
    room = share_room(10, 3, SHAPES, memory=500, disk=1500)
    assert len(room.on_disk) == 1 and len(room.dropped) == 1 and room.views[6] == 1
    assert share_room(10, 3, SHAPES, memory=0, disk=0).dropped == (0, 5, 6)


def test_this_machine_has_some_room(tmp_path: Path) -> None:
    assert 0 < memory_room() <= 2 << 30
    assert disk_room(tmp_path / "not" / "yet") == pytest.approx(disk_room(tmp_path), rel=0.05)
