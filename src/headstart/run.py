"""Run: the folder of one run. Every file is written to a temporary name and renamed, so a reader never sees a half."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import MachineError, UsageError

RESULT = "result.json"
REPORT = "report.html"
PROFILE = "profile.json"
CLASSIFIER = "classifier"
EXPORTS = ("onnx", "int8", "openvino")  # RUN/export-KIND, where `headstart export` writes unless told otherwise


@dataclass(frozen=True)
class Run:
    """The folder of one run and what it holds. Paths only; the content is JSON, CSV and the classifier folder."""

    folder: Path

    @property
    def classifier(self) -> Path:
        """Folder of the saved classifier."""
        return self.folder / CLASSIFIER

    @property
    def finished(self) -> bool:
        """Whether a result and a classifier were written."""
        return (self.folder / RESULT).is_file() and (self.classifier / "classifier.json").is_file()

    def result(self) -> dict[str, Any]:
        """The content of result.json; UsageError when the run has not finished."""
        path = self.folder / RESULT
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            raise UsageError(f"{self.folder} holds no finished run ({RESULT} is missing): run headstart fit") from None
        except ValueError:
            raise UsageError(f"{path} is not readable JSON: run headstart fit with --overwrite") from None

    def profile(self) -> dict[str, Any] | None:
        """The content of profile.json: where the time went; None when nobody asked or it cannot be read."""
        try:
            return dict(json.loads((self.folder / PROFILE).read_text("utf-8")))
        except (OSError, ValueError):
            return None

    def write_json(self, name: str, document: dict[str, Any]) -> None:
        """Write a JSON file of this run. NaN becomes null: JSON has no NaN."""
        text = json.dumps(without_nan(document), indent=2, ensure_ascii=False, allow_nan=False)
        write_file(self.folder / name, (text + "\n").encode("utf-8", "backslashreplace"))

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write a CSV file of this run (UTF-8, quoted where needed)."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(rows)
        write_file(self.folder / name, text.getvalue().encode("utf-8", "backslashreplace"))

    def forget(self, name: str) -> None:
        """Remove a folder of this run that is not needed any more, such as the units of a race that was decided."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def forget_older(self) -> None:
        """Remove what an overwritten run left that is about its classifier, not the one just saved; exports too."""
        for name in (RESULT, REPORT, PROFILE):
            (self.folder / name).unlink(missing_ok=True)
        for kind in EXPORTS:
            self.forget(f"export-{kind}")

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to log.jsonl: what happened when."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **without_nan(facts)}, default=str)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as f:
            f.write(line + "\n")


def open_run(folder: Path, when_exists: str) -> Run:
    """Make the folder of a run before any work starts; `when_exists` is refuse, resume or overwrite.

    Nothing is deleted here: an overwritten run keeps its files until the new ones are complete.

    Raises:
        UsageError: the folder holds a run, or something else, and may not be touched.
        MachineError: the folder cannot be made or written.
    """
    run = Run(folder)
    if folder.is_dir() and any(folder.iterdir()):
        ours = any((folder / name).exists() for name in (RESULT, CLASSIFIER, "log.jsonl"))
        if not ours:
            raise UsageError(f"{folder} exists and is not a run of headstart: choose another --out")
        if when_exists == "refuse":
            raise UsageError(f"{folder} exists: add --overwrite to replace it, --resume to finish it, or choose --out")
    elif folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as e:
        raise MachineError(f"cannot write to {folder}: {e.strerror or e}; choose another --out") from e
    return run


def write_file(path: Path, content: bytes) -> None:
    """Write `content` so that `path` is either the old or the new file, never a part (temporary name, fsync, rename).

    Raises:
        MachineError: no space, no permission; the old file is intact and the temporary one removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise MachineError(f"cannot write {path}: {_reason(e)}") from e


def free_bytes(folder: Path) -> int:
    """Bytes that can still be written where `folder` is."""
    return shutil.disk_usage(folder).free


def _reason(e: OSError) -> str:
    if e.errno == errno.ENOSPC:
        return "the disk is full; free some space and run again"
    return e.strerror or str(e)


def without_nan(value: Any) -> Any:
    """`value` with every NaN and infinity as None, numpy scalars as plain numbers."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(k): without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    if hasattr(value, "item") and not hasattr(value, "__len__"):  # a numpy scalar
        return without_nan(value.item())
    return value
