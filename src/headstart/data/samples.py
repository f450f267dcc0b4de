"""Samples: which picture is of which class. Knows no pixels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.images.open import Source
from headstart.images.printable import printable

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Samples:
    """n pictures of K classes.

    `sources`: path, bytes or array per picture. `names`: relative posix paths, safe to print. `labels`: int64 `(n,)`
    into `classes`. `parts`: "train", "val" or "test" per picture. `groups`: text per picture or None; pictures of one
    group never straddle a split. `ignored`: how many files were left out, by reason. `notes`: one line each.
    """

    root: Path | None
    sources: tuple[Source, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: NDArray[np.str_]
    groups: NDArray[np.str_] | None = None
    ignored: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.sources)
        lengths = {len(self.names), len(self.labels), len(self.parts), n if self.groups is None else len(self.groups)}
        if lengths != {n}:
            raise ValueError(f"samples do not fit together: {n} sources beside columns of lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, indices: Sequence[int] | NDArray[Any]) -> Samples:
        """The pictures at `indices` (or where a boolean mask is true), in that order; classes stay as they are."""
        chosen = np.asarray(indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return replace(
            self,
            sources=tuple(self.sources[i] for i in chosen),
            names=tuple(self.names[i] for i in chosen),
            labels=self.labels[chosen],
            parts=self.parts[chosen],
            groups=None if self.groups is None else self.groups[chosen],
        )


def class_order(names: Sequence[str]) -> tuple[str, ...]:
    """The one order of class names everywhere: NFC-normalised, without repeats, by code point (no locale)."""
    return tuple(sorted({unicodedata.normalize("NFC", name) for name in names}))


def from_lists(
    sources: Sequence[Source | str], labels: Sequence[Any] | NDArray[Any], groups: Sequence[Any] | None = None
) -> Samples:
    """Samples from paths, bytes or arrays and their labels (any values; shown as text, ordered as text).

    Raises DataError when the lengths differ, a label is missing, or there is only one class.
    """
    listed = [Path(source) if isinstance(source, str) else source for source in sources]
    texts = [_label_text(label, i) for i, label in enumerate(labels)]
    if len(listed) != len(texts):
        raise DataError(f"{len(listed)} pictures but {len(texts)} labels: give one label per picture")
    if groups is not None and len(groups) != len(listed):
        raise DataError(f"{len(listed)} pictures but {len(groups)} groups: give one group per picture")
    classes = class_order(texts)
    if len(classes) < 2:
        raise DataError(f"only {len(classes)} class in {len(listed)} pictures: at least two are needed")
    index = {name: k for k, name in enumerate(classes)}
    return Samples(
        root=None,
        sources=tuple(listed),
        names=tuple(
            printable(source.as_posix()) if isinstance(source, Path) else f"#{i}" for i, source in enumerate(listed)
        ),
        labels=np.array([index[text] for text in texts], dtype=np.int64),
        classes=classes,
        parts=np.full(len(listed), "train", dtype="<U5"),
        groups=None if groups is None else np.array([str(group) for group in groups], dtype=np.str_),
    )


def _label_text(label: Any, row: int) -> str:
    if label is None or (isinstance(label, float) and np.isnan(label)) or str(label) == "":
        raise DataError(f"picture {row} has no label")
    return unicodedata.normalize("NFC", str(label))
