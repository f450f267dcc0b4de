"""From columns of paths and labels to Samples: class order, notes, and what cannot be learned from."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.samples import Samples, class_order
from headstart.errors import DataError
from headstart.images.printable import printable

_SHOWN = 5


@dataclass
class Columns:
    """One entry per picture; `groups` stays empty when no group is known ("" = this picture has none)."""

    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def shown(names: Iterable[str]) -> str:
    """A few of `names`, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(printable(name) for name in listed[:_SHOWN]) + more


def assemble(root: Path, columns: Columns, ignored: dict[str, int], notes: Sequence[str]) -> Samples:
    """Samples from `columns`; whether they can be learned from is for `check_learnable` to say."""
    raw_names = sorted(set(columns.labels))
    safe = {raw: printable(unicodedata.normalize("NFC", raw)) for raw in raw_names}
    classes = class_order(list(safe.values()))
    index = {name: k for k, name in enumerate(classes)}
    code = {raw: index[name] for raw, name in safe.items()}
    labels = np.fromiter((code[raw] for raw in columns.labels), dtype=np.int64, count=len(columns.labels))
    parts = np.array(columns.parts, dtype="<U5")
    groups = np.array(columns.groups, dtype=np.str_) if any(columns.groups) else None
    all_notes = [*notes, *_twins(raw_names), *_part_notes(classes, labels, parts), *_group_notes(parts, groups)]
    return Samples(
        root=root,
        sources=tuple(columns.paths),
        names=tuple(columns.names),
        labels=labels,
        classes=classes,
        parts=parts,
        groups=groups,
        ignored=dict(sorted(ignored.items())),
        notes=tuple(all_notes),
    )


def check_learnable(where: Path, samples: Samples) -> None:
    """DataError when there is one class only, nothing but a test part, or a class that only the test part has."""
    classes, labels, parts = samples.classes, samples.labels, samples.parts
    place = printable(str(where))
    if len(classes) < 2:
        raise DataError(
            f"{place}: only one class ({shown(classes)}) with {len(labels)} pictures: at least two are needed"
        )
    learnable = np.bincount(labels[parts != "test"], minlength=len(classes))
    if not learnable.any():
        raise DataError(f"{place}: all pictures are for the test: train pictures are needed")
    only_test = [name for name, count in zip(classes, learnable, strict=True) if count == 0]
    if only_test:
        raise DataError(
            f"{place}: {_classes(only_test)} only in test: add training pictures or take the class out of test"
        )


def _classes(names: Sequence[str]) -> str:
    return f"class {shown(names)} is" if len(names) == 1 else f"classes {shown(names)} are"


def _twins(raw_names: Sequence[str]) -> list[str]:
    """Names that a Mac or a Windows computer would take for one and the same."""
    notes = []
    for rule, key in (
        ("are one class: they differ only in how accents are stored", lambda name: unicodedata.normalize("NFC", name)),
        ("are different classes but differ only in upper and lower case", str.casefold),
    ):
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for name in raw_names:
            alike[key(name)].append(name)
        for names in alike.values():
            if len(names) > 1:
                notes.append(f"{shown(names)} {rule}")
        raw_names = sorted({unicodedata.normalize("NFC", name) for name in raw_names})
    return notes


def _part_notes(classes: tuple[str, ...], labels: NDArray[np.int64], parts: NDArray[np.str_]) -> list[str]:
    notes = []
    present = {part: np.bincount(labels[parts == part], minlength=len(classes)) for part in np.unique(parts)}
    if set(present) == {"train"}:
        return []
    for part, counts in present.items():
        missing = [name for name, count in zip(classes, counts, strict=True) if count == 0]
        if missing:
            notes.append(f"{_classes(missing)} missing in {part}")
    return notes


def _group_notes(parts: NDArray[np.str_], groups: NDArray[np.str_] | None) -> list[str]:
    if groups is None:
        return []
    in_test = set(groups[(parts == "test") & (groups != "")].tolist())
    both = sorted(in_test & set(groups[parts != "test"].tolist()))
    if not both:
        return []
    counts = Counter(groups[parts == "test"].tolist())
    pictures = sum(counts[group] for group in both)
    return [f"{len(both)} groups have pictures both in train and in test ({pictures} in test): {shown(both)}"]
