"""What the process has to know before it trains: keep freed memory, and wait for the other cores without spinning."""

from __future__ import annotations

import os

from headstart.finetune.room import memory_room
from headstart.heap import keep_memory

ROOM_TO_KEEP = 3 * 2**29  # a quarter of 6 GiB: kept memory is fragmented, and a laptop may have little
SPINS = 2000


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
