"""How many cores this process may really use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path


@cache
def usable_cores() -> int:
    """Cores allowed by affinity and by a container's quota (cgroup v2); at least 1."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        allowed = os.cpu_count() or 1
    quota = _quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(allowed, quota) if quota else allowed)


def _quota(file: Path) -> int | None:
    try:
        limit, period = file.read_text("ascii").split()[:2]
        return None if limit == "max" else math.ceil(int(limit) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None
