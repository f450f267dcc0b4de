"""Checkpoints of a training: tensors and a position in a folder, complete or not there. No pickle."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from headstart.cache_folder import sync_folder, write_to_cache
from headstart.errors import MachineError

STATE, POSITION, MARK = "state.safetensors", "position.json", "COMPLETE"
_STEP, _DRAFT = "step-", ".tmp-"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name, on the processor, and where the training was: plain values."""

    tensors: dict[str, Tensor]
    position: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The newest `keep` checkpoints of one training in `folder`, which all workers see; one of them writes.

    `fingerprint` stands for everything the training depends on: a checkpoint of another one is not taken.
    A checkpoint is a folder `step-N`, written under a temporary name, forced to the disk, renamed; then a mark with the
    sha256 of both files is put in. Without its mark, or with other bytes than the mark says, it does not count.
    """

    folder: Path
    fingerprint: str
    keep: int = 2

    def save(self, step: int, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """Keep the state after `step` optimizer steps, and forget older ones. MachineError: it cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self.folder))
            try:
                facts = {"version": VERSION, "fingerprint": self.fingerprint, "step": step, **position}
                write_to_cache(
                    draft / STATE, save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
                )
                write_to_cache(draft / POSITION, json.dumps(facts).encode())
                place = self._remove(step)
                draft.rename(place)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            sync_folder(self.folder)
            write_to_cache(place / MARK, json.dumps(_sums(place)).encode())
            self._forget(step)
        except (OSError, SafetensorError) as error:
            raise MachineError(
                f"the checkpoint {self.folder / _name(step)} cannot be written ({error}): free some space and run "
                "again, older checkpoints are kept"
            ) from error

    def latest(self) -> int:
        """The step of the newest complete checkpoint of this training; -1 when there is none."""
        return next((step for step in reversed(self._steps()) if self._complete(step)), -1)

    def read(self, step: int) -> Checkpoint:
        """The checkpoint of `step`. MachineError when it is not there: the folder is not shared by all workers."""
        place = self.folder / _name(step)
        if not self._complete(step):
            raise MachineError(
                f"{place} is not here or not whole: its folder must be on storage that every worker sees"
            )
        return Checkpoint(load_file(place / STATE), json.loads((place / POSITION).read_text("utf-8")))

    def _steps(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        names = [path.name.removeprefix(_STEP) for path in self.folder.glob(f"{_STEP}*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def _complete(self, step: int) -> bool:
        place = self.folder / _name(step)
        try:
            if json.loads((place / MARK).read_text("utf-8")) != _sums(place):
                return False
            facts = json.loads((place / POSITION).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return bool(facts.get("version") == VERSION and facts.get("fingerprint") == self.fingerprint)

    def _remove(self, step: int) -> Path:
        """Make room for `step`: what a killed process left there has no mark, or is of another training."""
        place = self.folder / _name(step)
        (place / MARK).unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        return place

    def _forget(self, newest: int) -> None:
        """Remove all but the newest ones up to `newest` (later ones are of another training), and killed drafts."""
        steps = self._steps()
        kept = [step for step in steps if step <= newest][-self.keep :]
        for step in set(steps) - set(kept):
            self._remove(step)
        for draft in self.folder.glob(f"{_DRAFT}*"):
            shutil.rmtree(draft, ignore_errors=True)


def _name(step: int) -> str:
    return f"{_STEP}{step:09d}"


def _sums(place: Path) -> dict[str, str]:
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in (STATE, POSITION)}
