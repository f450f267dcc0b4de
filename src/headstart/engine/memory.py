"""How much memory this process may use at most: the machine's, or less in a container."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = 8 << 30  # bytes, where the system does not say (Windows)


def machine_memory(limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """Bytes of the machine, or of the container (cgroup v2) when that is less. It does not change while one works."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        found = UNKNOWN
    try:
        return min(found, int(limit.read_text("ascii")))
    except (OSError, ValueError):  # no container, or "max"
        return found
