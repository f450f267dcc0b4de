"""What the user named: files and folders as they are, patterns such as "new/*.jpg", `-` for a list on stdin."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from headstart.errors import DataError

STDIN = "-"


def named_pictures(names: Iterable[str], listed: bytes | None = None) -> list[Path]:
    """Files and folders behind `names`, in order. `listed`: what `-` stands for (stdin is read when None).

    A name that exists is taken as it is, whatever characters it has; else a pattern (`*`, `?`, `[a-z]`, `**`) stands
    for the sorted files and folders that match. What neither exists nor matches stays: it is answered with an error.
    DataError when the list on stdin is empty.
    """
    found: list[Path] = []
    for name in names:
        if name == STDIN:
            found += _from_list(sys.stdin.buffer.read() if listed is None else listed)
        elif glob.has_magic(name) and not os.path.lexists(name):
            matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute patterns)
            found += [Path(match) for match in matches] or [Path(name)]
        else:
            found.append(Path(name))
    return found


def _from_list(content: bytes) -> list[Path]:
    """One path per line; separated by NUL bytes when there are any (`find -print0`), which any name survives."""
    content = content.removeprefix(b"\xef\xbb\xbf")  # as Windows programs write UTF-8
    if b"\0" in content:
        entries = content.split(b"\0")
    else:
        entries = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    paths = [Path(os.fsdecode(entry)) for entry in entries if entry]
    if not paths:
        raise DataError("the list on stdin is empty: give one path per line")
    return paths
