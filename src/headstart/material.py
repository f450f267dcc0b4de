"""Material: what may be learned from and judged on, after bad, conflicting and leaking pictures were set aside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import rules
from headstart.data.duplicates import Duplicates, find_duplicates, merged_groups
from headstart.data.samples import Samples
from headstart.embedding.embed import Embeddings
from headstart.errors import DataError
from headstart.evaluation.quality import blank, brightness

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """Indices below count in `samples` and `embeddings`, which hold every picture that was found.

    `learn`: train and val pictures that are usable. `test`: test pictures that are usable. `bad`: unreadable ones.
    `groups` `(n,)`: pictures with one number are duplicates or of one given group and stay on one side of every split.
    `light` and `blank` `(n,)`: what is left of the thumbnails (100,000 of them are 0.1 GB).
    """

    samples: Samples
    embeddings: Embeddings
    duplicates: Duplicates
    groups: Indices
    learn: Indices
    test: Indices
    bad: Indices
    light: NDArray[np.floating]
    blank: NDArray[np.bool_]

    def matrices(self, rows: Indices) -> list[NDArray[np.float16]]:
        """One float16 matrix `(rows, dim)` per depth."""
        return [_rows(vectors, rows) for vectors in self.embeddings.vectors]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels of the pictures to learn from."""
        return self.samples.labels[self.learn]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the pictures to learn from."""
        return tuple(self.samples.names[i] for i in self.learn)

    def bad_rows(self) -> list[tuple[str, str]]:
        """(name, reason) of every picture that is left out of training and test."""
        rows = [(self.samples.names[i], self.embeddings.errors[i] or "") for i in self.bad]
        rows += [(self.samples.names[i], "same pixels in two classes") for i in self.duplicates.conflicts]
        rows += [(self.samples.names[i], "in test, but same pixels in train") for i in self.duplicates.leaks]
        return rows


def sort_out(samples: Samples, embeddings: Embeddings) -> Material:
    """Set bad pictures, conflicts and leaks aside; number the groups.

    Conflicts and leaks are decided by equal pixels only, never by likeness.

    Raises:
        DataError: too many bad pictures, or a class that lost all of its pictures.
    """
    is_bad = np.array([error is not None for error in embeddings.errors])
    good = np.flatnonzero(~is_bad)
    bad = np.flatnonzero(is_bad)
    _check_bad(samples, embeddings, bad)
    found = find_duplicates(
        samples.labels[good],
        samples.parts[good],
        [embeddings.pixel_hashes[i] for i in good],
        _rows(embeddings.thumbnails, good),
        _rows(embeddings.vectors[-1], good),
    )
    duplicates = _in_terms_of(found, good)
    left_out = np.zeros(len(samples), bool)
    left_out[bad] = True
    left_out[list(duplicates.conflicts)] = True
    left_out[list(duplicates.leaks)] = True
    is_test = samples.parts == "test"
    material = Material(
        samples=samples,
        embeddings=replace(embeddings, thumbnails=embeddings.thumbnails[:0].copy()),
        duplicates=duplicates,
        groups=merged_groups(len(samples), samples.groups, duplicates),
        learn=np.flatnonzero(~left_out & ~is_test),
        test=np.flatnonzero(~left_out & is_test),
        bad=bad,
        light=brightness(embeddings.thumbnails),
        blank=blank(embeddings.thumbnails),
    )
    _check_classes(material)
    return material


def _rows(array: NDArray[Any], rows: Indices) -> NDArray[Any]:
    """`array[rows]`, without a copy when that is all of it: the vectors of 20,000 pictures are 80 MB."""
    return array if len(rows) == len(array) else array[rows]


def _in_terms_of(found: Duplicates, rows: Indices) -> Duplicates:
    """The same duplicates, counted in all samples instead of in the good ones."""

    def groups(listed: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(int(rows[i]) for i in group) for group in listed)

    return Duplicates(
        exact=groups(found.exact),
        near=groups(found.near),
        large=groups(found.large),
        conflicts=tuple(int(rows[i]) for i in found.conflicts),
        leaks=tuple(int(rows[i]) for i in found.leaks),
    )


def _check_bad(samples: Samples, embeddings: Embeddings, bad: Indices) -> None:
    if rules.too_many_bad(len(bad), len(samples)) or len(bad) == len(samples):
        shown = "; ".join(f"{samples.names[i]}: {embeddings.errors[i]}" for i in bad[:3])
        raise DataError(
            f"{len(bad)} of {len(samples)} pictures cannot be read ({shown}{'; ...' if len(bad) > 3 else ''}): "
            "repair or remove them (headstart audit lists all) and run again"
        )


def _check_classes(material: Material) -> None:
    samples = material.samples
    before = np.bincount(samples.labels[samples.parts != "test"], minlength=len(samples.classes))
    after = np.bincount(material.labels, minlength=len(samples.classes))
    for k in np.flatnonzero((before > 0) & (after == 0)):
        raise DataError(
            f"class {samples.classes[k]!r} lost all of its {before[k]} pictures "
            "(unreadable, or the same pixels in another class): repair them or remove the class"
        )
