"""Keep the cache bounded, say what is in it, and empty it. Only folders that headstart itself makes are touched."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.cache_folder import cache_folder
from headstart.errors import MachineError, UsageError

DEFAULT_LIMIT = 10 * 10**9
_KINDS = ("embeddings", "graphs", "weights")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class CacheFacts:
    """What lies in the cache, in bytes. `limit` bounds the embeddings."""

    folder: Path
    embeddings: int
    graphs: int
    weights: int
    files: int
    limit: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.embeddings + self.graphs + self.weights


def cache_limit() -> int:
    """Bytes the embeddings may take: `HEADSTART_CACHE_LIMIT` (such as 500M or 20G), else 10 GB."""
    text = os.environ.get("HEADSTART_CACHE_LIMIT", "").strip()
    if not text:
        return DEFAULT_LIMIT
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.upper())
    if match is None:
        raise UsageError(f"HEADSTART_CACHE_LIMIT={text!r} is not a size: write for example 500M or 20G")
    return int(float(match[1]) * _UNITS[match[2]])


def cache_facts(folder: Path | None = None) -> CacheFacts:
    """Sizes of what is in the cache `folder` (the user's when None)."""
    folder = folder or cache_folder()
    files = {kind: _files(folder / kind) for kind in _KINDS}
    sizes = {kind: sum(size for _, size, _ in found) for kind, found in files.items()}
    return CacheFacts(folder, **sizes, files=sum(map(len, files.values())), limit=cache_limit())


def clear_cache(folder: Path | None = None) -> int:
    """Remove everything headstart keeps in the cache; return the bytes freed. MachineError when it cannot."""
    folder = folder or cache_folder()
    before = cache_facts(folder).total
    for kind in _KINDS:
        try:
            shutil.rmtree(folder / kind)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise MachineError(f"cannot clear the cache {folder / kind}: {error.strerror or error}") from None
    return before


def evict(folder: Path, limit: int) -> int:
    """Remove embeddings, damaged files first, then those not used for longest, until `limit` bytes hold them.

    Returns the bytes freed. A shard that another process is about to read becomes a miss there, nothing worse.
    """
    files = sorted(_files(folder / "embeddings"), key=lambda found: (found[0].suffix != ".bad", found[2]))
    total, freed = sum(size for _, size, _ in files), 0
    for path, size, _ in files:
        if total - freed <= limit:
            break
        with suppress(OSError):
            path.unlink()
            freed += size
    return freed


def _files(folder: Path) -> list[tuple[Path, int, float]]:
    """Regular files below `folder` with size and time of last use."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                facts = path.stat()
                found.append((path, facts.st_size, facts.st_mtime))
    return found
