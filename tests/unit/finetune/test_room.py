"""What fits where: beyond a little, files; without a disk, views go first (never the first one), then the cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.finetune.room import CutShape, disk_room, memory_room, share_room

SHAPES = {4: CutShape((5, 5, 2)), 5: CutShape((5, 4, 2), 10), 6: CutShape((5, 2, 2))}  # 100, 100, 40 bytes
PIXELS = {0: CutShape((10, 10, 1), 0, 1)}
MB = 1 << 20


def test_a_view_counts_its_map_and_its_vector_and_pixels_one_byte_each() -> None:
    assert [shape.view_bytes for shape in (*SHAPES.values(), *PIXELS.values())] == [100, 100, 40, 100]


def test_everything_stays_in_memory_while_it_is_little() -> None:
    room = share_room(10, 3, SHAPES, memory=7200, disk=10**9)
    assert dict(room.views) == {4: 3, 5: 3, 6: 3} and not room.on_disk and not room.dropped


def test_of_pixels_one_view_is_kept() -> None:
    assert dict(share_room(10, 3, PIXELS, memory=7200, disk=0).views) == {0: 1}


def test_what_is_large_goes_to_files_with_all_its_views_the_largest_first() -> None:
    shapes = {4: CutShape((MB, 10, 1)), 5: CutShape((MB, 5, 1)), 6: CutShape((MB, 1, 1))}
    room = share_room(5, 3, shapes, memory=2048 * MB, disk=10**10)  # 300, 150, 30 MiB
    assert dict(room.views) == {4: 3, 5: 3, 6: 3} and room.on_disk == {4, 5} and not room.dropped
    room = share_room(5, 3, shapes, memory=2048 * MB, disk=250 * MB)  # the largest has no room there
    assert dict(room.views) == {4: 3, 5: 3, 6: 3} and not room.on_disk and not room.dropped


@pytest.mark.parametrize("memory", range(2400, 7200, 333))
def test_without_a_disk_the_largest_lose_views_and_the_limit_holds(memory: int) -> None:
    room = share_room(10, 3, SHAPES, memory, disk=0)
    assert not room.on_disk and not room.dropped and min(room.views.values()) >= 1
    assert sum(10 * views * SHAPES[cut].view_bytes for cut, views in room.views.items()) <= memory
    assert room.views[6] >= max(room.views[4], room.views[5])


def test_a_disk_for_one_view_takes_the_largest_and_leaves_its_room_to_the_views_of_others() -> None:
    room = share_room(10, 3, SHAPES, memory=1500, disk=1100)
    assert len(room.on_disk) == 1 and room.on_disk <= {4, 5} and not room.dropped
    assert [room.views[cut] for cut in room.on_disk] == [1] and room.views[6] == 1
    room = share_room(10, 3, SHAPES, memory=1000, disk=2000)
    assert dict(room.views) == {4: 1, 5: 1, 6: 2} and room.on_disk == {4, 5}


def test_what_fits_nowhere_is_dropped() -> None:
    room = share_room(10, 3, SHAPES, memory=500, disk=1100)
    assert len(room.on_disk) == 1 and len(room.dropped) == 1 and room.views[6] == 1
    assert share_room(10, 3, SHAPES, memory=0, disk=0).dropped == (4, 5, 6)


def test_this_machine_has_some_room(tmp_path: Path) -> None:
    assert 0 < memory_room() <= 2 << 30
    assert disk_room(tmp_path / "not" / "yet") == pytest.approx(disk_room(tmp_path), rel=0.05)
