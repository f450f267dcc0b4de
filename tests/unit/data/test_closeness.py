"""All pairs that correlate, and no others, whatever the rows look like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from headstart.data import closeness
from headstart.data.closeness import correlated_blocks

Rows = NDArray[np.float32]
RNG = np.random.default_rng(0)


def unit(rows: NDArray[np.float64]) -> Rows:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def spread(n: int) -> Rows:
    """Unlike each other, every third one a copy with a little noise of one before it."""
    rows = RNG.normal(size=(n, 64))
    copies = np.arange(2, n, 3)
    rows[copies] = rows[copies // 2] + 0.08 * RNG.normal(size=(len(copies), 64))
    return unit(rows)


def alike(n: int) -> Rows:
    """All nearly the same, around the limit."""
    return unit(1.0 + 0.13 * RNG.normal(size=(n, 64)))


def off_axis(n: int) -> Rows:
    """Differences lie where the sample that the axes are computed from has none."""
    rows = np.ones((n, 64))
    rows[: closeness._FEW, :20] += RNG.normal(size=(min(n, closeness._FEW), 20))
    rows[1::2, 20:] += 0.2 * RNG.normal(size=(len(rows[1::2]), 44))
    return unit(rows)


def equal(n: int) -> Rows:
    return unit(np.ones((n, 64)))


@pytest.mark.parametrize("make", [spread, alike, off_axis, equal])
@pytest.mark.parametrize("n", [2, 17, 700])
def test_every_pair_once(make: Callable[[int], Rows], n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_FEW", 40), ("_LEAF", 24), ("_COLUMNS", 64), ("_DENSE", 300)):
        monkeypatch.setattr(closeness, name, value)
    rows = make(n)
    rows[n // 2] = 0.0  # flat: correlates with nothing
    product = rows.astype(np.float64) @ rows.T.astype(np.float64)
    wanted = {(i, j) for i in range(n) for j in range(i) if product[i, j] >= 0.985}
    borderline = {(i, j) for i in range(n) for j in range(i) if abs(product[i, j] - 0.985) < 1e-6}
    found = [
        (max(some[a], others[b]), min(some[a], others[b]))
        for some, others, hits in correlated_blocks(rows, 0.985)
        for a, b in zip(*np.nonzero(hits), strict=True)
    ]
    assert len(found) == len(set(found)), "a pair twice"
    assert set(found) - borderline == wanted - borderline
    assert n < 700 or len(wanted) > 100


def test_little_is_compared_in_full_where_pictures_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, compared = spread(6000), 0
    real = closeness._in_full

    def counted(hits: NDArray[np.bool_], *rest: object) -> NDArray[np.bool_]:
        nonlocal compared
        compared += int(np.count_nonzero(hits))
        return real(hits, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(closeness, "_in_full", counted)
    found = sum(int(np.count_nonzero(hits)) for _, _, hits in correlated_blocks(rows, 0.985))
    assert found >= 1000
    assert compared < 0.001 * len(rows) ** 2


def test_nothing_to_compare() -> None:
    for n in (5, 1):
        assert not any(hits.any() for _, _, hits in correlated_blocks(np.zeros((n, 8), np.float32), 0.9))
