"""How much of the cut cache fits where: pure arithmetic, and what this machine has free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 2 << 30
_MEMORY_SHARE = 0.25  # of what is available: training needs its own
_UNKNOWN_MEMORY = 4 << 30
DISK_SPARE = 1 << 30  # bytes that stay free on the disk


@dataclass(frozen=True)
class CutShape:
    """What one view of one picture holds at a cut.

    `map` (H, W, C), of one byte per number at cut 0, else two; `vector` float16 numbers of pooled vectors.
    """

    map: tuple[int, int, int]
    vector: int = 0
    number_bytes: int = 2

    @property
    def view_bytes(self) -> int:
        """Bytes of one view of one picture."""
        height, width, channels = self.map
        return height * width * channels * self.number_bytes + 2 * self.vector


@dataclass(frozen=True)
class Room:
    """Views kept per cut, in order of the cuts asked for; `on_disk` of them in files; `dropped` have no room at all."""

    views: Mapping[int, int]
    on_disk: frozenset[int]
    dropped: tuple[int, ...]


def planned_bytes(n: int, cuts: Sequence[int], views: int, shapes: Mapping[int, CutShape]) -> dict[int, int]:
    """Bytes that every cut takes for `n` pictures in `views` views each."""
    return {cut: n * views * shapes[cut].view_bytes for cut in cuts}


def share_room(n: int, views: int, shapes: Mapping[int, CutShape], memory: int, disk: int) -> Room:
    """Fit the cuts of `shapes` into `memory` bytes.

    First the largest lose views, then the largest go to `disk` bytes with their first view, then they are dropped.
    What that leaves free gives views back to the smallest.
    """
    kept = dict.fromkeys(shapes, views)
    on_disk: set[int] = set()
    dropped: list[int] = []

    def size(cut: int) -> int:
        return n * kept[cut] * shapes[cut].view_bytes

    def used() -> int:
        return sum(size(cut) for cut in kept if cut not in on_disk)

    while used() > memory and (shrinkable := [cut for cut in kept if kept[cut] > 1]):
        kept[max(shrinkable, key=size)] -= 1
    while used() > memory:
        largest = max((cut for cut in kept if cut not in on_disk), key=size)
        if size(largest) <= disk:
            disk -= size(largest)
            on_disk.add(largest)
        else:
            dropped.append(largest)
            del kept[largest]
    while growable := [
        cut
        for cut in kept
        if cut not in on_disk and kept[cut] < views and used() + n * shapes[cut].view_bytes <= memory
    ]:
        kept[min(growable, key=size)] += 1
    return Room(kept, frozenset(on_disk), tuple(dropped))


def memory_room() -> int:
    """Bytes the cache may take in memory when nothing else is said: 2 GiB, or a quarter of what is available."""
    return min(MOST_BYTES, int(_MEMORY_SHARE * _available_memory()))


def disk_room(folder: Path) -> int:
    """Bytes that may be written in `folder` (or where it would be made), leaving 1 GiB free; 0 when unknown."""
    for place in (folder, *folder.parents):
        try:
            return max(0, shutil.disk_usage(place).free - DISK_SPARE)
        except OSError:
            continue
    return 0


def _available_memory() -> int:
    found = [bytes_ for bytes_ in (_of_machine(), _of_container(Path("/sys/fs/cgroup"))) if bytes_ is not None]
    return min(found, default=_UNKNOWN_MEMORY)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # macOS has only the total; half of it is a guess on the safe side
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _of_container(folder: Path) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text("ascii"))
        return max(0, limit - int((folder / "memory.current").read_text("ascii")))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return None
