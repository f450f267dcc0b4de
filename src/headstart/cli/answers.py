"""Answers of `predict` as text, CSV and JSON, written as they come: many pictures need no more memory than a few."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import typer

from headstart.errors import MachineError

UNSURE = "unsure"
Row = dict[str, Any]


def row_of(prediction: Any, unsure: float) -> Row:
    """One entry of `predict --json`. Below the probability `unsure` the class is "unsure"; `top` keeps the guess."""
    label = prediction.label
    if label is not None and prediction.probability < unsure:
        label = UNSURE
    return {
        "path": prediction.path,
        "class": label,
        "probability": prediction.probability,
        "top": [[name, p] for name, p in prediction.top],
        "error": prediction.error,
    }


def line_of(row: Row, top: int, unsure: bool) -> str:
    r"""One line of text: path, class, probability, then the others of `top`; with `unsure` all of `top`, guess first.

    Separated by tabs; a tab or line break in a name is shown as \t or \n.
    """
    if row["error"]:
        return f"{row['path']}\t-\t{row['error']}"
    ranked = row["top"][:top] if unsure else row["top"][1:top]
    cells = [_plain(row["class"]), f"{row['probability']:.3f}"]
    cells += [cell for name, p in ranked for cell in (_plain(name), f"{p:.3f}")]
    return "\t".join([row["path"], *cells])


def written(rows: Iterable[Row], table: Path | None, ranks: int) -> Iterator[Row]:
    """`rows`, each written to the CSV file `table` on its way; the file appears whole, when all are through.

    `ranks`: how many columns class_1, probability_1, ... there are. Nothing is left when it does not come to its end.
    """
    if table is None:
        yield from rows
        return
    with _appearing(table) as file:
        writer = csv.writer(file)
        columns = [c for k in range(1, ranks + 1) for c in (f"class_{k}", f"probability_{k}")]
        writer.writerow(["path", "class", "probability", "error", *columns])
        for row in rows:
            ranked = [value for pair in row["top"][:ranks] for value in pair]
            ranked += [""] * (len(columns) - len(ranked))  # every row has every column, one with an error too
            probability = "" if row["probability"] is None else row["probability"]
            writer.writerow([row["path"], row["class"] or "", probability, row["error"] or "", *ranked])
            yield row


def print_predictions(rows: Iterable[Row]) -> tuple[int, int]:
    """Print `{"predictions": [...]}` on stdout; how many rows have an error, and how many there are.

    Rows wait in a temporary file: when something goes wrong on the way, stdout has no half of a document.
    """
    bad, count = 0, 0
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        file.write('{\n "predictions": [')
        for row in rows:
            text = json.dumps(row, allow_nan=False)
            file.write(f"{',' if count else ''}\n  {text}")
            bad, count = bad + (row["error"] is not None), count + 1
        file.write("\n ]\n}\n")
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout)
        sys.stdout.flush()
    return bad, count


def print_lines(rows: Iterable[Row], top: int, unsure: bool, silent: bool = False) -> tuple[int, int]:
    """Print one line per row as it comes, unless `silent`; how many rows have an error, and how many there are."""
    bad, count = 0, 0
    for row in rows:
        if not silent:
            typer.echo(line_of(row, top, unsure))
        bad, count = bad + (row["error"] is not None), count + 1
    return bad, count


@contextmanager
def _appearing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the name `path` once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        reason = "the disk is full; free some space and run again" if full else error.strerror or str(error)
        raise MachineError(f"cannot write {path}: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _plain(name: str) -> str:
    """A class name that keeps to its column."""
    return name if name.isprintable() else json.dumps(name, ensure_ascii=False)[1:-1]
