"""Where headstart keeps what it can compute again (weights, graphs, embeddings), and how a file gets there whole."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

TEMPORARY = ".tmp-"
_PATIENCE = 2.5  # seconds; virus scanners hold fresh files open on Windows


def cache_folder() -> Path:
    """The cache folder: `HEADSTART_CACHE` when set, else the platform's own place for caches. Not created here."""
    chosen = os.environ.get("HEADSTART_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("headstart", appauthor=False)


def write_to_cache(path: Path, content: bytes) -> None:
    """Write `content` so that `path` never holds a part: temporary name in the same folder, fsync, rename.

    Raises OSError; then nothing is left behind and an older `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_leftovers(folder: Path, older_than: float = 3600.0) -> None:
    """Remove temporary files of processes that died; younger ones may still be written by someone."""
    for path in folder.glob(f"{TEMPORARY}*"):
        try:
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()
        except OSError:
            continue  # someone else removed it, or may not


def _replace(temporary: Path, path: Path) -> None:
    late = time.monotonic() + _PATIENCE
    while True:
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > late:
                raise
            time.sleep(0.05)


def sync_folder(folder: Path) -> None:
    """Force names in `folder` onto the disk, where the system can."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems cannot; the file itself is on disk
    finally:
        os.close(handle)
