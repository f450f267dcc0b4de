"""The ledger: every finished unit of a race is a file, so that a killed race goes on where it was."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.howmuch.arm import Arm, FoldResult
from headstart.run import write_file

VERSION = 1
EPOCHS = "epochs.json"


def kept_epochs(folder: Path, n: int, planned: int, resumed: bool) -> int:
    """Epochs of the units in `folder`: `planned`, kept now; of a `resumed` race of n pictures those it had planned.

    What fits into the time is measured anew when a race goes on; units of another length would not be read back.
    """
    try:
        kept = json.loads((folder / EPOCHS).read_bytes())
        if resumed and kept["n"] == n and int(kept["epochs"]) > 0:
            return int(kept["epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / EPOCHS, json.dumps({"n": n, "epochs": planned}).encode())
    return planned


@dataclass(frozen=True)
class Ledger:
    """Units of a race in `folder` (RUN/race).

    `fingerprint`: opaque, stands for everything a unit depends on (pictures, labels, split, backbone, recipe); a unit
    of another fingerprint is not read. Damage shows in the checksums of the archive (.npz is a zip file).
    """

    folder: Path
    fingerprint: str

    def path(self, arm: Arm, repeat: int, fold: int) -> Path:
        """The file of one unit."""
        return self.folder / f"{arm.key}.r{repeat}.f{fold}.npz"

    def write(self, arm: Arm, repeat: int, fold: int, result: FoldResult) -> None:
        """Keep a finished unit, failed ones too. Raises MachineError when the disk is full."""
        facts = {
            "version": VERSION,
            "unit": self._unit(arm, repeat, fold),
            "steps": result.steps,
            "failed": result.failed,
            "blend": result.blend is not None,
        }
        arrays: dict[str, Any] = {"rows": result.rows, "logits": result.logits, "seconds": result.seconds}
        if result.blend is not None:
            arrays["blend"] = result.blend
        content = io.BytesIO()
        np.savez(content, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(self.path(arm, repeat, fold), content.getvalue())

    def read(self, arm: Arm, repeat: int, fold: int) -> FoldResult | None:
        """A unit that was finished earlier; None when there is none, or it is damaged or of another race."""
        try:
            content = io.BytesIO(self.path(arm, repeat, fold).read_bytes())
            with np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(arrays.pop("facts").tobytes())
            if facts["version"] != VERSION or facts["unit"] != self._unit(arm, repeat, fold):
                return None
            blend = arrays["blend"] if facts["blend"] else None
            return FoldResult(
                arrays["rows"], arrays["logits"], arrays["seconds"], int(facts["steps"]), blend, facts["failed"]
            )
        except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, struct.error, zipfile.BadZipFile):
            return None

    def _unit(self, arm: Arm, repeat: int, fold: int) -> list[Any]:
        return [self.fingerprint, arm.key, repeat, fold]
