"""Nearest: an index of training vectors in which the pictures most like a given one are found, and its two files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ClassifierError
from headstart.head.parallel import calm
from headstart.images.printable import printable

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

VECTORS, NAMES = "nearest.safetensors", "nearest.json"
MOST = 20_000  # training pictures in an index
DIMENSIONS = 64
_SKETCH_ROWS, _EXTRA, _ROUNDS = 4000, 16, 2  # of the randomised principal components
_WIDE, _SHRINK = 128, 0.5  # before whitening; how far the spread within classes is evened out
_BLOCK = 2048
_LARGEST = 2**28  # bytes of a file that is read


@dataclass(frozen=True)
class Index:
    """Training pictures as unit vectors.

    `vectors` float16 `(n, r)`, `projection` float32 `(d, r)`, `mean` float32 `(d,)`: a picture with the features x (of
    the depths the head reads, side by side) lies at `(x - mean) @ projection`, brought to length 1. `ids`, `labels`:
    name and class of every picture. `root`: the folder that `ids` are relative to, or None.
    """

    vectors: NDArray[np.float16]
    projection: NDArray[np.float32]
    mean: NDArray[np.float32]
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    root: str | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def place(self, features: FloatArray) -> NDArray[np.float32]:
        """Unit vectors `(m, r)` of features `(m, d)`."""
        found = np.empty((len(features), self.projection.shape[1]), np.float32)
        for at in range(0, len(features), _BLOCK):
            found[at : at + _BLOCK] = (np.asarray(features[at : at + _BLOCK], np.float32) - self.mean) @ self.projection
        return _unit(found)


def build_index(
    features: FloatArray,
    moments: tuple[FloatArray, FloatArray],
    names: tuple[Sequence[str], Sequence[str]],
    seed: int = 0,
) -> Index:
    """An index of pictures with `features` `(n, d)`, float16 or float32.

    `moments`: mean and scale `(d,)` that the head standardises with; `names`: ids and labels `(n,)`. The space: the
    head's standardisation, the 128 widest principal components, whitened by how pictures of one class differ, and of
    that the 64 widest directions.

    Percent of pictures whose nearest of other folds is of the same class, on the last four depths; cosine on all
    columns, standardised, 64 components, this: nature 81.3, 84.5, 82.9, 87.2; elpv 83.3, 83.6, 82.9, 82.6;
    emoji_subgroup 70.3, 70.6, 67.8, 71.0; digits8 89.5, 84.8, 85.2, 90.6 (`python benchmarks/nearest.py --sets SETS`).
    """
    mean, scale = (np.asarray(moment, np.float32) for moment in moments)
    rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:_SKETCH_ROWS])
    classes = np.unique([names[1][row] for row in rows], return_inverse=True)[1]
    some = np.asarray((np.asarray(features[rows], np.float32) - mean) / scale, np.float32)
    with calm(some.size):
        wide = principal(some, _WIDE, seed)
        directions = np.asarray(wide @ _within_whitened(np.asarray(some @ wide), classes), np.float32)
    empty = np.zeros((0, directions.shape[1]), np.float16)
    space = Index(empty, np.ascontiguousarray(directions / scale[:, None], np.float32), mean, (), ())
    return replace(space, vectors=space.place(features).astype(np.float16), ids=tuple(names[0]), labels=tuple(names[1]))


def principal(X: FloatArray, most: int, seed: int) -> NDArray[np.float32]:
    """Orthonormal directions `(d, r)` of float32 rows `(n, d)`, the widest first, at most `most` (Halko 2011)."""
    n, d = X.shape
    r = min(most, d, n)
    basis = np.random.default_rng(seed).standard_normal((d, min(r + _EXTRA, d))).astype(np.float32)
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(X.T @ (X @ basis))[0]
    turned = np.linalg.svd(X @ basis, full_matrices=False)[2]
    return np.asarray(basis @ turned[:r].T, np.float32)


def _within_whitened(X: FloatArray, classes: IntArray) -> NDArray[np.float32]:
    """A map `(d, r)` to where pictures of one class differ equally in all directions, half way; the widest 64."""
    sums = np.zeros((int(classes.max()) + 1, X.shape[1])) if len(X) else np.zeros((1, X.shape[1]))
    np.add.at(sums, classes, X)
    own = X - (sums / np.maximum(np.bincount(classes, minlength=len(sums)), 1)[:, None])[classes]
    spread = own.T @ own / max(1, len(X))
    usual = np.trace(spread) / len(spread) if len(spread) else 0.0
    if not usual > 0:  # one picture per class
        return np.eye(X.shape[1], min(X.shape[1], DIMENSIONS), dtype=np.float32)
    values, vectors = np.linalg.eigh((1 - _SHRINK) * spread + _SHRINK * usual * np.eye(len(spread)))
    turn = vectors / np.sqrt(values)
    widest = np.linalg.svd(X @ turn, full_matrices=False)[2][:DIMENSIONS].T
    return np.asarray(turn @ widest, np.float32)


def nearest(
    index: Index, vectors: FloatArray, k: int, exclude: IntArray | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The at most `k` nearest pictures of unit `vectors` `(m, r)`: rows of the index and cosines, nearest first.

    `exclude` `(m,)`: a row of the index that is not to be found, such as the picture itself; -1 for none. Both results
    are `(m, min(k, n))`; where that leaves nothing to be found the row is -1.
    """
    k = min(k, len(index))
    rows, cosines = np.full((len(vectors), k), -1, np.int64), np.full((len(vectors), k), -np.inf, np.float32)
    everything = index.vectors.astype(np.float32)
    for at in range(0, len(vectors), _BLOCK // 8):
        part = slice(at, at + _BLOCK // 8)
        likeness = np.asarray(vectors[part], np.float32) @ everything.T
        if exclude is not None:
            own = np.asarray(exclude[part])
            likeness[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        rows[part] = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
        cosines[part] = np.take_along_axis(likeness, rows[part], axis=1)
    rows[np.isneginf(cosines)] = -1
    return rows, np.clip(cosines, -1, 1)


def pack_index(index: Index) -> dict[str, bytes]:
    """The two files of an index, by name; `load_index` reads them."""
    from safetensors.numpy import save

    tensors = {"vectors": index.vectors, "projection": index.projection, "mean": index.mean}
    names = {"root": index.root, "ids": list(index.ids), "labels": list(index.labels)}
    text = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
    packed = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    return {VECTORS: packed, NAMES: text.encode("utf-8", "backslashreplace")}


def load_index(folder: Path) -> Index:
    """The index in `folder`; ClassifierError (which file, what to do) when it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors, names = load(_read(folder / VECTORS)), json.loads(_read(folder / NAMES))
        index = Index(*_tensors(tensors), *_names(names))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise _refused(folder / VECTORS, "is damaged") from None
    if not len(index.ids) == len(index.labels) == len(index):
        raise _refused(folder / NAMES, f"does not belong to {VECTORS}")
    return index


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise _refused(path, "is too large")
        return path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from None


def _tensors(
    tensors: dict[str, NDArray[Any]],
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]]:
    vectors, projection, mean = (tensors[name] for name in ("vectors", "projection", "mean"))
    fits = vectors.ndim == 2 and mean.ndim == 1 and projection.shape == (len(mean), vectors.shape[1])
    if not fits or [t.dtype.name for t in (vectors, projection, mean)] != ["float16", "float32", "float32"]:
        raise ValueError("not an index")
    if not all(np.isfinite(tensor).all() for tensor in (vectors, projection, mean)):
        raise ValueError("not finite")
    return vectors, projection, mean


def _names(names: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], str | None]:
    ids, labels, root = tuple(names["ids"]), tuple(names["labels"]), names["root"]
    if not all(isinstance(text, str) for text in (*ids, *labels, root or "")):
        raise TypeError("not names")
    return ids, labels, root


def _refused(path: Path, why: str) -> ClassifierError:
    return ClassifierError(f"{printable(str(path))} {why}: run `headstart fit` again")
