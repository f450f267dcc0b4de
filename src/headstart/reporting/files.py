"""What lies in the folder of a run, read for showing: older or damaged files leave something out, never fail.

Only result.json must be there. Thumbnails become data URIs, so that the page needs no other file.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import UsageError
from headstart.images.printable import printable
from headstart.reporting.words import JSON
from headstart.run import RESULT, Run

EXPLAIN = "explain"
SCHEMA = 1
NEEDED = (
    "data", "accuracy", "decision", "candidates", "similarity", "size", "depths", "learning_curve", "findings",
    "seconds", "engine", "interrupted",
)  # fmt: skip
LARGEST_THUMB = 64 * 2**10  # bytes; a thumbnail is a tenth of it
LARGEST_FILE = 2**30  # bytes of predictions.csv or explain.json


@dataclass(frozen=True)
class Predicted:
    """predictions.csv as columns of one length: out-of-fold answers, in the order of the file.

    `groups`: pictures with one number were never parted by a split; all of their own in files of older versions.
    """

    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    probability: NDArray[np.floating] = field(default_factory=lambda: np.zeros(0))
    probability_of_label: NDArray[np.floating] = field(default_factory=lambda: np.zeros(0))
    groups: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the label."""
        return np.array([a == b for a, b in zip(self.labels, self.predicted, strict=True)], bool)


@dataclass(frozen=True)
class RunFiles:
    """Everything a page is made from. `explain`: content of explain.json, {} without one."""

    name: str
    folder: Path
    result: JSON
    predicted: Predicted
    bad: tuple[tuple[str, str], ...]
    explain: JSON

    def thumb(self, name: Any) -> str:
        """A thumbnail of RUN/explain as a data URI; "" when there is none."""
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".jpg"):
            return ""
        try:
            with (self.folder / EXPLAIN / name).open("rb") as file:
                content = file.read(LARGEST_THUMB + 1)
        except OSError:
            return ""
        if not content.startswith(b"\xff\xd8") or len(content) > LARGEST_THUMB:
            return ""
        return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def read_files(run: Run) -> RunFiles:
    """The files of a finished run.

    Raises:
        UsageError: there is no finished run, or one of a newer headstart.
    """
    result, folder = run.result(), run.folder
    schema, missing = result.get("schema"), [key for key in NEEDED if key not in result]
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(f"{folder / RESULT} was made by a newer headstart (schema {schema}): upgrade headstart")
    if missing:
        raise UsageError(f"{folder / RESULT} lacks {missing[0]!r}: run headstart fit with --overwrite")
    name = printable(folder.resolve().name or str(folder))
    return RunFiles(name, folder, result, read_predictions(folder), _bad(folder), _explain(folder))


def read_predictions(folder: Path) -> Predicted:
    """predictions.csv; empty when it is missing or not as it should be."""
    rows = _table(folder / "predictions.csv")
    try:
        return Predicted(
            tuple(r["path"] for r in rows),
            tuple(r["label"] for r in rows),
            tuple(r["predicted"] for r in rows),
            np.array([float(r["probability"]) for r in rows]),
            np.array([float(r["probability_of_label"]) for r in rows]),
            np.array([int(r.get("group", i)) for i, r in enumerate(rows)], np.int64),
        )
    except (KeyError, TypeError, ValueError):
        return Predicted()


def _bad(folder: Path) -> tuple[tuple[str, str], ...]:
    return tuple((r.get("path") or "", r.get("reason") or "") for r in _table(folder / "bad_images.csv"))


def _table(path: Path) -> list[dict[str, str]]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            return []
        text = path.read_bytes().decode("utf-8", "replace")
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, csv.Error):
        return []


def _explain(folder: Path) -> JSON:
    path = folder / EXPLAIN / "explain.json"
    try:
        found = json.loads(path.read_text("utf-8")) if path.stat().st_size < LARGEST_FILE else {}
    except (OSError, ValueError):
        return {}
    usable = isinstance(found, dict) and found.get("schema") == 1 and isinstance(found.get("pictures"), list)
    return found if usable else {}
