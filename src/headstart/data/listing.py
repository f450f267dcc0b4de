"""Pictures to predict: files as they are named, folders with everything below them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.data.walk import Tally, pictures_below


def list_pictures(named: Sequence[Path]) -> list[Path]:
    """Every file that was named, whatever it is (an unreadable one is answered, not dropped), and what folders hold."""
    found: list[Path] = []
    for path in named:
        if path.is_dir():
            found += [path / inside for inside in pictures_below(path, frozenset(), Tally())]
        else:
            found.append(path)
    return found
