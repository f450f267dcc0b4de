"""How much of the cut cache fits where: pure arithmetic, and what this machine has free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headstart.finetune.together import PIXELS

MOST_BYTES = 2 << 30
# What is beyond goes to a file where the disk has room; the system keeps it in memory too, but only while it has any.
KEPT_IN_MEMORY = 32 << 20
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


def share_room(n: int, views: int, shapes: Mapping[int, CutShape], memory: int, disk: int) -> Room:
    """Fit the cuts of `shapes` into `memory` bytes and `disk` bytes.

    More than 32 MiB go to files, the largest first. Where the disk has no room for that, the largest in memory lose
    views, then go to the disk with their first view, then are dropped. What that leaves free gives views back to the
    smallest. Of pixels (cut 0) one view is enough: the others are made when they are read.
    """
    shares = _Shares(n, dict.fromkeys(shapes, views), shapes, disk)
    if PIXELS in shapes:
        shares.kept[PIXELS] = 1
    most = dict(shares.kept)
    for cut in shares.in_memory():
        if shares.used() <= min(memory, KEPT_IN_MEMORY) or not shares.to_disk(cut):
            break
    while shares.used() > memory and (several := [cut for cut in shares.in_memory() if shares.kept[cut] > 1]):
        shares.kept[max(several, key=shares.size)] -= 1
    dropped: list[int] = []
    while shares.used() > memory:
        largest = shares.in_memory()[0]
        if not shares.to_disk(largest):
            dropped.append(largest)
            del shares.kept[largest]
    while growable := [
        cut
        for cut in shares.in_memory()
        if shares.kept[cut] < most[cut] and shares.used() + n * shapes[cut].view_bytes <= memory
    ]:
        shares.kept[min(growable, key=shares.size)] += 1
    return Room(shares.kept, frozenset(shares.on_disk), tuple(dropped))


@dataclass
class _Shares:
    """`kept` views of every cut, in memory but for those `on_disk`; `disk` bytes are left there."""

    n: int
    kept: dict[int, int]
    shapes: Mapping[int, CutShape]
    disk: int
    on_disk: set[int] = field(default_factory=set)

    def size(self, cut: int) -> int:
        """Bytes of a cut."""
        return self.n * self.kept[cut] * self.shapes[cut].view_bytes

    def in_memory(self) -> list[int]:
        """The cuts that are not on the disk, the largest first."""
        return sorted((cut for cut in self.kept if cut not in self.on_disk), key=self.size, reverse=True)

    def used(self) -> int:
        """Bytes of memory."""
        return sum(map(self.size, self.in_memory()))

    def to_disk(self, cut: int) -> bool:
        """Put a cut on the disk, where that has room."""
        if self.size(cut) > self.disk:
            return False
        self.disk -= self.size(cut)
        self.on_disk.add(cut)
        return True


def memory_room() -> int:
    """Bytes the cache may take in memory when it has to: 2 GiB, or a quarter of what is available."""
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
