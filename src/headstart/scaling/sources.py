"""What the user named, as rows of a manifest, one after the other: a folder of classes, a CSV, a Parquet file."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.listing import list_pictures
from headstart.data.manifest import CSV, PARQUET
from headstart.data.samples import Samples
from headstart.data.scan import scan
from headstart.errors import DataError, UsageError
from headstart.images.printable import printable
from headstart.scaling.extra import scale_package
from headstart.scaling.manifest import Row
from headstart.scaling.reading import is_remote, uri_of

_URI = ("uri", "url", "path", "file", "filename", "file_name", "filepath", "image", "image_path")
_LABEL = ("label", "class", "target", "category")
_GROUP = ("group", "group_id")
_SPLIT = ("split", "part", "subset")
_TEST = {"test", "testing"}


@dataclass(frozen=True)
class Listed:
    """`rows()` gives the rows anew; `about` is their number, or a little more. `notes` are for the user."""

    rows: Callable[[], Iterator[Row]]
    about: int
    notes: tuple[str, ...] = ()


def listed(data: Path | Samples) -> Listed:
    """The rows of `data`. Pictures marked as test are left out of a folder or list, not of given Samples.

    A folder and Samples are held in memory; lists are streamed, their pictures are not looked for: one that is missing
    becomes a row with its error. Raises DataError.
    """
    if isinstance(data, Samples):
        return Listed(lambda: _of_samples(data), len(data), data.notes)
    if data.is_file() and data.suffix.lower() in PARQUET:
        return _of_parquet(data)
    if data.is_file() and data.suffix.lower() in CSV:
        with data.open("rb") as file:
            about = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        return Listed(lambda: _of_csv(data), about)
    return _of_folder(data)


def _of_folder(data: Path) -> Listed:
    try:
        samples = scan(data, to_learn=False)
    except DataError:
        pictures = sorted(list_pictures([data])) if data.is_dir() else []
        if not pictures:
            raise
        return Listed(
            lambda: ((uri_of(path), None, None) for path in pictures), len(pictures), ("no class folders: no labels",)
        )
    notes = samples.notes
    if (tests := int((samples.parts == "test").sum())) and tests < len(samples):
        samples = samples.take(samples.parts != "test")
        notes += (f"the {tests} pictures of test/ were left out: embed them into a folder of their own",)
    return Listed(lambda: _of_samples(samples), len(samples), notes)


def _of_samples(samples: Samples) -> Iterator[Row]:
    for i, source in enumerate(samples.sources):
        if not isinstance(source, Path):
            raise UsageError("only pictures that lie in files can be embedded at scale: save the arrays first")
        group = None if samples.groups is None else str(samples.groups[i]) or None
        yield uri_of(source), samples.classes[samples.labels[i]], group


def _of_csv(data: Path) -> Iterator[Row]:
    with data.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = max((",", ";", "\t"), key=first.count)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            places = _places(data, next(reader, []))
            for values in reader:
                if any(value.strip() for value in values):
                    texts = [values[i].strip() if i is not None and i < len(values) else None for i in places]
                    if (row := _row(data, texts)) is not None:
                        yield row
        except csv.Error as error:
            raise DataError(f"{printable(str(data))}: not a readable CSV (line {reader.line_num}: {error})") from None


def _of_parquet(data: Path) -> Listed:
    pa, pq = scale_package("pyarrow"), scale_package("pyarrow.parquet")
    try:
        with pq.ParquetFile(data) as file:
            about, names = int(file.metadata.num_rows), list(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        reason = printable(" ".join(str(error).split()))[:120]
        raise DataError(f"{printable(str(data))}: not a readable Parquet file ({reason})") from None
    places = _places(data, names)

    def rows() -> Iterator[Row]:
        wanted = [names[i] for i in places if i is not None]
        with pq.ParquetFile(data) as file:
            for batch in file.iter_batches(batch_size=8192, columns=wanted):
                held = {name: batch.column(name).to_pylist() for name in wanted}
                columns = [None if i is None else held[names[i]] for i in places]
                for j in range(batch.num_rows):
                    texts = [None if column is None else _plain(column[j]) for column in columns]
                    if (row := _row(data, texts)) is not None:
                        yield row

    return Listed(rows, about)


def _places(data: Path, header: Sequence[str]) -> list[int | None]:
    """Where uri, label, group and split are; DataError without the first."""
    found = [name.strip().lower() for name in header]
    places = [
        next((found.index(name) for name in names if name in found), None) for names in (_URI, _LABEL, _GROUP, _SPLIT)
    ]
    if places[0] is None:
        there = printable(", ".join(header))[:200] or "nothing"
        raise DataError(
            f'{printable(str(data))}: no column "uri" or "path" (the first row has: {there}); the first row must name '
            "the columns: uri and, if wanted, label, group, split"
        )
    return places


def _row(data: Path, texts: Sequence[str | None]) -> Row | None:
    """One row with an absolute place; None when it is empty or marked as test."""
    place, label, group, split = texts
    if not place or (split or "").lower() in _TEST:
        return None
    if not is_remote(place) and not place.startswith("file://"):
        place = uri_of(data.parent / place.replace("\\", "/") if not Path(place).is_absolute() else Path(place))
    if label is not None:
        label = unicodedata.normalize("NFC", printable(label)) or None
    return place, label, printable(group) if group else None


def _plain(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # pandas turns whole numbers beside gaps into floats
        return str(int(value))
    return str(value).strip()
