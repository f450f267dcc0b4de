"""Manifests: a CSV or Parquet list of pictures with the columns path, label and, if wanted, split and group."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.data.assemble import Columns, assemble
from headstart.data.samples import Samples
from headstart.errors import DataError, MachineError
from headstart.images.printable import printable

CSV = frozenset((".csv", ".tsv", ".txt"))
PARQUET = frozenset((".parquet", ".pq"))

_WANTED = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "part", "subset"),
    "group": ("group", "group_id"),
}
_PARTS = {"": "train", "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_PARTS |= {"dev": "val", "test": "test", "testing": "test"}
_ROWS_SHOWN = 8

Row = tuple[int, dict[str, str]]  # the row's number as the user sees it, and its texts by our column names


def scan_manifest(manifest: Path) -> Samples:
    """Samples of a manifest; paths are relative to its folder, numbers are kept as text.

    Rows that cannot be used are left out and listed in one note; more than 5 % and more than 3 of them raise DataError.
    """
    rows = _parquet_rows(manifest) if manifest.suffix.lower() in PARQUET else _csv_rows(manifest)
    columns = Columns()
    problems: dict[int, str] = {}
    taken: dict[str, tuple[int, int]] = {}  # path -> (row, place in the columns)
    repeats = total = 0
    for number, row in rows:
        total += 1
        problem = _problem(row)
        path = _resolve(manifest, row["path"]) if problem is None else None
        if path is None:
            problems[number] = problem or f"file not found ({printable(row['path'])})"
            continue
        earlier = taken.get(str(path))
        if earlier is None:
            taken[str(path)] = (number, len(columns.paths))
            _append(columns, path, row)
        elif columns.labels[earlier[1]] == _label(row):
            repeats += 1
        else:
            problems[number] = f"already in row {earlier[0]} with another label"
            problems[earlier[0]] = f"also in row {number} with another label"
    _drop(columns, {taken_row[1] for taken_row in taken.values() if taken_row[0] in problems})
    notes = _judge(manifest, problems, total, repeats)
    if not columns.paths:
        raise DataError(f"{printable(str(manifest))}: no rows")
    return assemble(manifest.parent, columns, {"repeated row": repeats} if repeats else {}, notes)


def _label(row: dict[str, str]) -> str:
    return unicodedata.normalize("NFC", row["label"])


def _append(columns: Columns, path: Path, row: dict[str, str]) -> None:
    columns.paths.append(path)
    columns.names.append(printable(row["path"].replace("\\", "/")))
    columns.labels.append(_label(row))
    columns.parts.append(_PARTS[row.get("split", "").lower()])
    columns.groups.append(printable(row.get("group", "")))


def _drop(columns: Columns, places: set[int]) -> None:
    if places:
        columns.paths = [path for i, path in enumerate(columns.paths) if i not in places]
        for column in (columns.names, columns.labels, columns.parts, columns.groups):
            column[:] = [text for i, text in enumerate(column) if i not in places]


def _problem(row: dict[str, str]) -> str | None:
    if not row["path"]:
        return "no path"
    if not row["label"] or row["label"].lower() == "nan":
        return "no label"
    if row.get("split", "").lower() not in _PARTS:
        return f"unknown split {printable(row['split'])!r} (train, val or test)"
    return None


def _resolve(manifest: Path, text: str) -> Path | None:
    for variant in dict.fromkeys((text, text.replace("\\", "/"))):
        path = manifest.parent / variant
        try:
            if path.exists() and not path.is_dir():
                return path
        except (OSError, ValueError):
            return None
    return None


def _judge(manifest: Path, problems: dict[int, str], total: int, repeats: int) -> list[str]:
    notes = [f"{repeats} repeated rows were left out"] if repeats else []
    if not problems:
        return notes
    listed = "; ".join(f"row {number}: {problems[number]}" for number in sorted(problems)[:_ROWS_SHOWN])
    more = f"; and {len(problems) - _ROWS_SHOWN} more" if len(problems) > _ROWS_SHOWN else ""
    message = f"{len(problems)} of {total} rows cannot be used: {listed}{more}"
    if (len(problems) > 3 and len(problems) > 0.05 * total) or len(problems) == total:
        raise DataError(f"{printable(str(manifest))}: {message}")
    return [*notes, message]


def _csv_rows(manifest: Path) -> Iterator[Row]:
    text = _text(manifest)
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max((",", ";", "\t"), key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next(reader, [])
        places = _places(manifest, header)
        for number, values in enumerate(reader, start=2):
            if any(value.strip() for value in values):
                yield number, {name: values[i].strip() if i < len(values) else "" for name, i in places.items()}
    except csv.Error as error:
        raise DataError(f"{printable(str(manifest))}: not a readable CSV (line {reader.line_num}: {error})") from None


def _text(manifest: Path) -> str:
    content = manifest.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):  # how spreadsheets write "Unicode text"
        return content.decode("utf-16", "replace")
    # File names need not be UTF-8: their bytes survive as surrogates, like everywhere in Python.
    return content.decode("utf-8-sig", "surrogateescape")


def _places(manifest: Path, header: list[str]) -> dict[str, int]:
    """Where our columns are; DataError when path or label is missing."""
    found = [name.strip().lower() for name in header]
    places = {}
    for wanted, aliases in _WANTED.items():
        place = next((found.index(alias) for alias in aliases if alias in found), None)
        if place is not None:
            places[wanted] = place
        elif wanted in ("path", "label"):
            listed = printable(", ".join(header))[:200] or "nothing"
            raise DataError(
                f'{printable(str(manifest))}: no column "{wanted}" (the first row has: {listed}); '
                "the first row must name the columns: path,label and, if wanted, split,group"
            )
    return places


def _parquet_rows(manifest: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MachineError(
            f"{printable(str(manifest))}: to read Parquet, pip install 'headstart[parquet]' (or give a CSV)"
        ) from None
    number = 1
    try:
        with parquet.ParquetFile(manifest) as file:
            header = list(file.schema_arrow.names)
            places = _places(manifest, header)
            wanted = [header[place] for place in places.values()]
            for batch in file.iter_batches(columns=wanted):
                columns = [batch.column(name).to_pylist() for name in wanted]
                for values in zip(*columns, strict=True):
                    yield number, {name: _plain(value) for name, value in zip(places, values, strict=True)}
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        reason = printable(" ".join(str(error).split()))[:120]
        raise DataError(f"{printable(str(manifest))}: not a readable Parquet file ({reason})") from None


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():  # pandas turns whole numbers beside gaps into floats
        return str(int(value))
    return str(value).strip()
