"""The user's own pictures, which every export is proved on: those of the run, or those that `--data` names."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.data.listing import list_pictures
from headstart.data.samples import Samples
from headstart.data.scan import scan
from headstart.errors import DataError, UsageError
from headstart.images.load import BadImageError
from headstart.images.open import Source
from headstart.images.printable import printable
from headstart.run import RESULT, Run


@dataclass(frozen=True)
class OwnPictures:
    """n pictures of the user. `names` are safe to print.

    `labels`: int64 (n,) in the classifier's order of classes, -1 where no label is known. `confidence`: (n,) what the
    run's predictions.csv says about the predicted class, NaN for pictures that the run did not learn from.
    """

    sources: tuple[Source, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def learned(self) -> NDArray[np.bool_]:
        """Which pictures the classifier was trained on."""
        return ~np.isnan(self.confidence)


@dataclass(frozen=True)
class Decoded:
    """Pictures as the classifier sees them: `index` into OwnPictures (m,), `pixels` uint8 (m, side, side, 3)."""

    index: NDArray[np.intp]
    pixels: NDArray[np.uint8]

    def names(self, own: OwnPictures) -> list[str]:
        """Names of the pictures, safe to print."""
        return [own.names[i] for i in self.index]


def own_pictures(run: Path, data: Path | None, classes: tuple[str, ...]) -> OwnPictures:
    """Pictures of `data`, or of the folder that the run in `run` learned from.

    `data` may hold class folders, be a CSV, or be any folder of pictures (then without labels). UsageError when no
    folder is known or it is gone; DataError when it holds no pictures.
    """
    if data is None:
        data = _data_of(run)
    elif not data.exists():
        raise DataError(f"no such folder: {printable(str(data))}")
    known = _confidences(run / "predictions.csv")
    try:
        samples = scan(data, to_learn=False)
    except DataError:
        paths = tuple(list_pictures([data]))
        if not paths or (paths == (data,) and data.suffix.lower() in (".csv", ".parquet")):
            raise
        names = tuple(printable(str(path)) for path in paths)
        nothing = np.full(len(paths), np.nan)
        return OwnPictures(paths, names, np.full(len(paths), -1, np.int64), nothing)
    confidence = np.array([known.get(name, np.nan) for name in samples.names], np.float64)
    return OwnPictures(samples.sources, samples.names, _labels(samples, classes), confidence)


def choose(own: OwnPictures, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """At most `most` pictures to compare on: the run's least certain, and as many spread evenly over the others."""
    certain = np.argsort(own.confidence, kind="stable")  # NaN last
    hard = certain[: min(most // 2, int(own.learned.sum()))]
    rest = np.setdiff1d(np.arange(len(own)), hard)
    room = min(most - len(hard), len(rest))
    spread = rest[np.linspace(0, len(rest) - 1, room).round().astype(int)] if room else rest[:0]
    return np.sort(hard), spread


def decode(own: OwnPictures, index: NDArray[np.intp], classifier: Classifier) -> Decoded:
    """The pictures at `index` that can be read."""
    kept, squares = [], []
    for i in index:
        try:
            squares.append(classifier.load_picture(own.sources[i]).pixels)
        except (BadImageError, OSError, MemoryError):
            continue
        kept.append(i)
    side = classifier.preprocessing.side
    pixels = np.stack(squares) if squares else np.empty((0, side, side, 3), np.uint8)
    return Decoded(np.array(kept, np.intp), pixels)


def _data_of(run: Path) -> Path:
    """The data folder that result.json names."""
    call = Run(run).result().get("call") if (run / RESULT).is_file() else None
    named = call.get("data") if isinstance(call, dict) else None
    if not isinstance(named, str) or not named:
        raise UsageError(
            f"{printable(str(run))} does not say which pictures it learned from: name some with --data PICTURES "
            "(the exported model is compared with the classifier on them)"
        )
    if not Path(named).exists():
        raise UsageError(
            f"the pictures of this run are no longer at {printable(named)}: name some with --data PICTURES "
            "(the exported model is compared with the classifier on them)"
        )
    return Path(named)


def _confidences(table: Path) -> dict[str, float]:
    """Probability of the predicted class by picture name; empty when there is no table, or it is not ours."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {row["path"]: float(row["probability"]) for row in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _labels(samples: Samples, classes: tuple[str, ...]) -> NDArray[np.int64]:
    index = {name: k for k, name in enumerate(classes)}
    order = np.array([index.get(name, -1) for name in samples.classes], np.int64)
    return np.asarray(order[samples.labels])
