"""What the process has to know before it trains: keep freed memory, and wait for the other cores without spinning."""

from __future__ import annotations

import ctypes
import os
import sys

from headstart.finetune.room import memory_room

ROOM_TO_KEEP = 3 * 2**29  # a quarter of 6 GiB: kept memory is fragmented, and a laptop may have little
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of glibc's mallopt
_KEEP = 2**30
SPINS = 2000


def keep_memory() -> bool:
    """Make glibc keep up to 1 GiB of freed memory; False where there is no glibc.

    Training everything ran at 74 instead of 49 pictures a second (`benchmarks/training_speed.py`). It is for the whole
    process and for good, so called only when the whole network is trained.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, _KEEP))
    except (OSError, AttributeError):
        return False


def keep_memory_if_roomy() -> None:
    """`keep_memory`, where much of it is free."""
    if memory_room() >= ROOM_TO_KEEP:
        keep_memory()


def wait_politely() -> None:
    """Make torch's threads sleep soon while they wait for each other; counts only before torch is imported.

    GNU OpenMP lets them spin instead, which on a machine that does anything else besides costs most of both cores:
    training the last two stages beside other work was some three times as fast asleep. But the next layer comes soon:
    with 2,000 turns before they sleep the last three stages trained an eighth faster than with none (medians of six
    runs), and beside another training as fast; with 20,000 half as fast (one run each; by hand, no record).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
