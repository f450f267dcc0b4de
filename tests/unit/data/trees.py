"""Small trees of files for the scan tests; scanning opens no picture, so the files may be empty."""

from __future__ import annotations

from pathlib import Path


def plant(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root
