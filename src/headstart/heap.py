"""The heap: freed memory is kept where it will be needed again at once, and goes back to the system where it will not.

The C library decides that by itself, badly for arrays; only glibc can be told. Elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of glibc's mallopt
_KEEP = 2**30


def keep_memory() -> bool:
    """Make glibc keep up to 1 GiB of freed memory, until it is given back; False where there is no glibc.

    Training everything ran at 52 instead of 47 pictures a second (`benchmarks/training_speed.py`). It is for the whole
    process and for good, so called only when the whole network is trained.
    """
    try:
        libc = _glibc()
        return bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, _KEEP))
    except (OSError, AttributeError):
        return False


def give_back() -> None:
    """Return freed memory to the system.

    What is freed between pieces still in use stays with the process otherwise: 138 of 775 MB after the probe of 100,000
    pictures, by hand (malloc_trim(3)).
    """
    try:
        _glibc().malloc_trim(0)
    except (OSError, AttributeError):
        return


def _glibc() -> Any:
    """The C library, which may be another one without these functions. Raises OSError where there is none."""
    if not sys.platform.startswith("linux"):
        raise OSError("no glibc")
    return ctypes.CDLL("libc.so.6")
