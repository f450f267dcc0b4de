"""The ledger of an embedded folder: what is done, what is to do, what crashed. Everything it knows is files.

Work is done at least once, its result is there exactly once: a part is valid or not by itself, whoever wrote it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from headstart.cache_folder import remove_leftovers, write_to_cache
from headstart.errors import DataError, MachineError
from headstart.scaling import part
from headstart.scaling.chunks import Chunk
from headstart.scaling.lock import locked
from headstart.scaling.manifest import Manifest, open_manifest
from headstart.scaling.part import DamagedPartError, Tag, check_part, part_path
from headstart.scaling.spec import Spec, read_spec

SUCCESS = "_SUCCESS.json"
ATTEMPTS = "attempts"
TRIES = 3  # crashes after which a chunk is taken apart to find the picture
GIVE_UP = 6  # crashes after which it is not the pictures
_READERS = 4


@dataclass(frozen=True)
class Counts:
    """A finished folder: `ok` + `bad` = `rows`, `quarantined` of the bad; `parts_sha256` over the parts' checksums."""

    rows: int
    chunks: int
    ok: int
    bad: int
    quarantined: int
    parts_sha256: str
    computed: int = 0  # chunks of this call; not written down: the file is the same however often it was resumed


class Ledger:
    """Opens the embedded folder `folder` (spec and manifest must be there); DataError when it is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec: Spec = read_spec(folder)
        self.manifest: Manifest = open_manifest(folder)
        if (self.manifest.sha256, self.manifest.rows_per_chunk) != (
            self.spec.manifest_sha256,
            self.spec.rows_per_chunk,
        ):
            raise DataError(
                f"{folder}: its manifest is not the one its spec was made for: begin again in another folder"
            )
        self.chunks = self.manifest.chunks()
        self._by_id = {chunk.id: chunk for chunk in self.chunks}

    def chunk(self, chunk_id: str) -> Chunk:
        """The chunk of that id; KeyError."""
        return self._by_id[chunk_id]

    def lock(self) -> AbstractContextManager[None]:
        """Held by the one driver of this folder (lock.py)."""
        return locked(self.folder)

    def pending(self) -> list[Chunk]:
        """Chunks without a valid part (cheap check: footer, rows, chunk, spec); a damaged part is kept as `.bad`."""
        there = self._names()
        present = [chunk for chunk in self.chunks if part_path(self.folder, chunk.id).name in there]
        valid = {chunk.id for chunk, tag in zip(present, self._check(present, False), strict=True) if tag}
        return [chunk for chunk in self.chunks if chunk.id not in valid]

    def attempts(self, chunk_id: str) -> int:
        """How often the worker of this chunk crashed."""
        try:
            return len(self._attempts(chunk_id).read_text("utf-8").splitlines())
        except FileNotFoundError:
            return 0

    def crashed(self, chunk_id: str, why: str) -> int:
        """Note that the worker of this chunk crashed, as the living driver saw it; how often so far.

        From `TRIES` on `Worker.run` takes the chunk apart in child processes. A driver that dies is not the chunk's
        fault and notes nothing. Raises MachineError at `GIVE_UP`: then it is the machine.
        """
        file = self._attempts(chunk_id)
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(" ".join(why.split())[:200] + "\n")
        if (count := self.attempts(chunk_id)) >= GIVE_UP:
            raise MachineError(
                f"chunk {chunk_id} crashed {count} times, also when taken apart ({why}): see {file}; is there enough "
                "memory? Remove that file to try again"
            )
        return count

    def settled(self, chunk_id: str) -> None:
        """Its part is written: forget the crashes."""
        self._attempts(chunk_id).unlink(missing_ok=True)

    def success(self) -> Counts | None:
        """What `_SUCCESS.json` says, when it is of this spec."""
        try:
            found = json.loads((self.folder / SUCCESS).read_text("utf-8"))
            if found.pop("spec") != self.spec.hash:
                return None
            return Counts(**found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def verify(self, told: Callable[[int], None] | None = None, full: bool = True) -> Counts:
        """Read every part (`full`: its whole content), then write `_SUCCESS.json`: every id exactly once.

        Damaged parts are set aside as `.bad` and DataError says how many; parts of no chunk are removed, and what
        dead writers left. `told(done)` counts chunks. Call it under the lock.
        """
        tags: list[Tag] = []
        missing = 0
        for done, tag in enumerate(self._check(self.chunks, full), start=1):
            if tag is None:
                missing += 1
            else:
                tags.append(tag)
            if told is not None:
                told(done)
        if missing:
            raise DataError(
                f"{self.folder}: {missing} of {len(self.chunks)} parts are missing or damaged: run it again"
            )
        self._tidy()
        counts = Counts(
            rows=sum(tag.ok + tag.bad for tag in tags),
            chunks=len(tags),
            ok=sum(tag.ok for tag in tags),
            bad=sum(tag.bad for tag in tags),
            quarantined=sum(tag.quarantined for tag in tags),
            parts_sha256=hashlib.sha256("".join(tag.sha256 for tag in tags).encode()).hexdigest(),
        )
        if counts.rows != self.spec.rows:
            raise DataError(f"{self.folder}: {counts.rows} rows in parts, {self.spec.rows} in the manifest")
        content = {name: value for name, value in asdict(counts).items() if name != "computed"}
        write_to_cache(self.folder / SUCCESS, json.dumps({"spec": self.spec.hash, **content}, indent=1).encode())
        return counts

    def _check(self, chunks: list[Chunk], full: bool) -> Iterable[Tag | None]:
        """The tag of every chunk's part, in order, None where there is no valid one; a few are read at once."""
        with ThreadPoolExecutor(_READERS, "headstart-check") as pool:
            for start in range(0, len(chunks), 64):
                yield from pool.map(lambda chunk: self._tag(chunk, full), chunks[start : start + 64])

    def _tag(self, chunk: Chunk, full: bool) -> Tag | None:
        path = part_path(self.folder, chunk.id)
        try:
            return check_part(path, chunk, self.spec, full)
        except FileNotFoundError:
            return None
        except DamagedPartError:
            with suppress(OSError):
                path.replace(path.with_suffix(".bad"))
            return None

    def _names(self) -> set[str]:
        try:
            with os.scandir(self.folder / part.FOLDER) as entries:
                return {entry.name for entry in entries}
        except FileNotFoundError:
            return set()

    def _tidy(self) -> None:
        """Nobody else writes here now: temporary files are of the dead, and parts of no chunk are of nobody."""
        folder = self.folder / part.FOLDER
        for place in (self.folder, folder, self.folder / ATTEMPTS):
            remove_leftovers(place, older_than=-1.0)
        expected = {part_path(self.folder, chunk.id).name for chunk in self.chunks}
        for name in self._names() - expected:
            if name.endswith(".parquet"):
                (folder / name).unlink(missing_ok=True)
        with suppress(OSError):
            (self.folder / ATTEMPTS).rmdir()

    def _attempts(self, chunk_id: str) -> Path:
        return self.folder / ATTEMPTS / chunk_id
