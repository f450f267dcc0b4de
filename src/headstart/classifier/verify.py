"""The proof that a written classifier does what was promised: reload it from disk, predict from the files, compare.

Design section 8: the same class for every picture, unless its top two probabilities lie within 2e-3, and probabilities
within 1e-3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier, source_name
from headstart.errors import HeadstartError
from headstart.images.load import Source

PROBABILITY_TOLERANCE = 1e-3
TIE = 2e-3
BATCH_SIZES = (1, 2, 7)


def pick_for_verification(margins: NDArray[np.floating], most: int = 256) -> NDArray[np.intp]:
    """Rows worth verifying: at most `most`, smallest of `margins` (n,) first."""
    return np.argsort(margins, kind="stable")[:most]


def margins_of(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far the top two of every row of `probabilities` (n, K) are apart, (n,)."""
    top_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(top_two[:, 1] - top_two[:, 0])


def verify(
    folder: Path,
    sources: Sequence[Source],
    expected: NDArray[np.floating],
    classes: Sequence[str],
    refine: Callable[[NDArray[np.intp]], NDArray[np.floating]] | None = None,
) -> None:
    """Raise HeadstartError, naming the first picture, unless the classifier in `folder` gives `expected`.

    `expected`: probabilities (n, K) of `sources`, columns in the order of `classes`, computed independently of the
    written model. Where they differ and `refine` is given, `refine(rows)` computes those rows anew, without the
    rounding of cached vectors, and has the last word. The first pictures are also run in batches of 1, 2 and 7.
    """
    if not len(sources):
        raise ValueError("nothing to verify with")
    classifier = Classifier.load(folder)
    if classifier.classes != tuple(classes):
        raise HeadstartError(f"{folder}: the saved classifier has other classes, or another order: this is a bug")
    found = classifier.probabilities(sources)
    if found.errors:
        first = min(found.errors)
        raise HeadstartError(f"{_name(sources, first)} could not be read any more: {found.errors[first]}")
    if refine is not None and len(doubtful := np.flatnonzero(_wrong(expected, found.values))):
        expected = np.array(expected)
        expected[doubtful] = refine(doubtful)
    _compare(sources, expected, found.values, "read back from disk")
    pixels = np.stack([classifier.load_picture(source).pixels for source in sources[: max(BATCH_SIZES)]])
    for size in BATCH_SIZES:
        some = pixels[:size]
        _compare(sources, expected[: len(some)], classifier.run(some), f"in a batch of {len(some)}")


def _wrong(expected: NDArray[np.floating], found: NDArray[np.floating]) -> NDArray[np.bool_]:
    if expected.shape != found.shape:
        raise ValueError(f"expected {expected.shape} probabilities, the classifier gives {found.shape}")
    other_class = (expected.argmax(axis=1) != found.argmax(axis=1)) & (margins_of(expected) > TIE)
    near = _difference(expected, found) <= PROBABILITY_TOLERANCE  # so that NaN is wrong too
    return np.asarray(other_class | ~near)


def _difference(expected: NDArray[np.floating], found: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.abs(np.asarray(expected, np.float64) - found).max(axis=1))


def _compare(sources: Sequence[Source], expected: NDArray[np.floating], found: NDArray[np.floating], how: str) -> None:
    wrong = _wrong(expected, found)
    if wrong.any():
        first = int(wrong.argmax())
        raise HeadstartError(
            f"the saved classifier, {how}, does not give what was measured on {_name(sources, first)}: "
            f"probabilities differ by {_difference(expected, found)[first]:.4f} "
            f"({int(wrong.sum())} of {len(wrong)} pictures differ); nothing was accepted, please report this"
        )


def _name(sources: Sequence[Source], index: int) -> str:
    return source_name(sources[index]) or f"picture {index}"
