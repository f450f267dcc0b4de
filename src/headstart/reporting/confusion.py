"""What was taken for what: a shaded matrix where it can be read, and the same as lists for many classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.reporting.files import Predicted

READABLE = 25  # classes: the most that a matrix shows, and that a page of the list holds
PAIRS = 20
SHADES = 6


@dataclass(frozen=True)
class Cell:
    """`n` pictures of a row's class; `shade` 0..6 by their share of the row; `key` of its pictures, where there are."""

    n: int
    shade: int
    right: bool
    key: str


@dataclass(frozen=True)
class Row:
    """A true class, what became of its `n` pictures."""

    name: str
    n: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """`names` of the columns; the rows are the same classes."""

    names: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Taken:
    """One class in the list: of `n` pictures `right` were right, the others were taken for `others` (class, count)."""

    name: str
    n: int
    right: int
    others: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Confusion:
    """`matrix` of all classes, or (`part`) of the most confused; `pages` of 25 classes; `pairs` largest first."""

    matrix: Matrix | None
    part: bool
    pages: tuple[tuple[Taken, ...], ...]
    pairs: tuple[tuple[str, str, int, int], ...]
    wrong: int


def confusion(found: Predicted, classes: Sequence[str], keys: dict[tuple[str, str], str]) -> Confusion | None:
    """`keys`: (label, predicted) -> id of the place on the page that shows pictures of it. None without predictions."""
    if not found.ids:
        return None
    counts = Counter(zip(found.labels, found.predicted, strict=True))
    totals = Counter(found.labels)
    wrong = sorted(((a, b, n) for (a, b), n in counts.items() if a != b), key=lambda p: (-p[2], p[0], p[1]))
    known = [c for c in classes if c in totals or any(c == b for _, b, _ in wrong)] if len(classes) <= READABLE else []
    part = len(classes) > READABLE
    shown = _most_confused(wrong, classes) if part else known
    matrix = _matrix(shown, counts, totals, keys) if shown else None
    pages = _pages(classes, counts, totals, wrong) if part else ()
    pairs = tuple((a, b, n, totals[a]) for a, b, n in wrong[:PAIRS])
    return Confusion(matrix, part, pages, pairs, sum(n for _, _, n in wrong))


def _most_confused(wrong: Sequence[tuple[str, str, int]], classes: Sequence[str]) -> list[str]:
    """The classes of the largest confusions, in the order of `classes`."""
    chosen: set[str] = set()
    for a, b, _ in wrong:
        if len(chosen | {a, b}) <= READABLE:
            chosen |= {a, b}
    return [c for c in classes if c in chosen]


def _matrix(
    names: Sequence[str], counts: Counter[tuple[str, str]], totals: Counter[str], keys: dict[tuple[str, str], str]
) -> Matrix:
    rows = []
    for a in names:
        cells = []
        for b in names:
            n = counts[a, b]
            share = n / totals[a] if totals[a] else 0.0
            shade = 0 if not n else min(SHADES, 1 + int(share * SHADES if a == b else 2 * share * SHADES))
            cells.append(Cell(n, shade, a == b, keys.get((a, b), "")))
        rows.append(Row(a, totals[a], tuple(cells)))
    return Matrix(tuple(names), tuple(rows))


def _pages(
    classes: Sequence[str],
    counts: Counter[tuple[str, str]],
    totals: Counter[str],
    wrong: Sequence[tuple[str, str, int]],
) -> tuple[tuple[Taken, ...], ...]:
    others: dict[str, list[tuple[str, int]]] = {}
    for a, b, n in wrong:
        others.setdefault(a, []).append((b, n))
    taken = [Taken(c, totals[c], counts[c, c], tuple(others.get(c, ()))) for c in classes]
    return tuple(tuple(taken[k : k + READABLE]) for k in range(0, len(taken), READABLE))
