"""What is kept of a picture, as named columns: the same columns in memory, in a shard, and in the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Depth
from headstart.engine.stream import StreamBatch
from headstart.predictions import softmax

Columns = dict[str, NDArray[Any]]

KEY = "key"
TOP = 5  # classes of the discarded head that are kept


def empty_columns(n: int, depths: Sequence[Depth]) -> Columns:
    """Zeroed columns for `n` pictures: key, pixel hash (32 bytes), thumbnail, size, source top, a vector per depth."""
    return {name: np.zeros((n, *shape), dtype) for name, (dtype, shape) in layout(depths).items()}


def layout(depths: Sequence[Depth]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Name, type and shape of one row of every column."""
    byte, half = np.dtype(np.uint8), np.dtype(np.float16)
    fixed: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        KEY: (byte, (32,)),
        "pixel_hash": (byte, (32,)),
        "thumbnail": (byte, (32, 32)),
        "size": (np.dtype(np.int32), (2,)),
        "source_indices": (np.dtype(np.int16), (TOP,)),
        "source_probabilities": (half, (TOP,)),
    }
    return fixed | {f"vector.{depth.name}": (half, (depth.dim,)) for depth in depths}


def batch_columns(batches: Sequence[StreamBatch], keys: Sequence[bytes], depths: Sequence[Depth]) -> Columns:
    """The columns of some batches from the engine; `keys` are those of their pictures, in order."""
    pictures = [picture for batch in batches for picture in batch.pictures]
    outputs = {name: np.concatenate([batch.outputs[name] for batch in batches]) for name in batches[0].outputs}
    indices, probabilities = _top(outputs.get("source_logits", np.zeros((len(pictures), 0), np.float32)))
    columns: Columns = {
        KEY: _bytes(keys),
        "pixel_hash": _bytes([picture.pixel_hash for picture in pictures]),
        "thumbnail": np.stack([picture.thumbnail for picture in pictures]),
        "size": np.array([(picture.width, picture.height) for picture in pictures], np.int32),
        "source_indices": indices,
        "source_probabilities": probabilities,
    }
    with np.errstate(over="ignore"):  # a vector beyond float16 becomes infinite and is caught by `usable_rows`
        for depth in depths:
            columns[f"vector.{depth.name}"] = outputs[depth.name].astype(np.float16)
    return columns


def usable_rows(columns: Columns) -> NDArray[np.bool_]:
    """Rows without NaN or infinity."""
    usable = np.ones(len(columns[KEY]), dtype=bool)
    for column in columns.values():
        if column.dtype == np.float16:
            usable &= np.isfinite(column).all(axis=1)
    return usable


def take(columns: Columns, rows: Any) -> Columns:
    """The given rows of every column."""
    return {name: column[rows] for name, column in columns.items()}


def put(target: Columns, rows: Any, columns: Columns) -> None:
    """Write `columns` into the given rows of `target`."""
    for name, column in columns.items():
        target[name][rows] = column


def _top(logits: NDArray[np.float32]) -> tuple[NDArray[np.int16], NDArray[np.float16]]:
    """The likeliest classes; zeros behind the last one where the head has fewer than five, or there is none."""
    if logits.shape[1] < TOP:
        logits = np.pad(logits, ((0, 0), (0, TOP - logits.shape[1])), constant_values=-np.inf)
    if not np.isfinite(logits).any():  # no head at all
        return np.zeros((len(logits), TOP), np.int16), np.zeros((len(logits), TOP), np.float16)
    with np.errstate(invalid="ignore"):
        probabilities = softmax(logits)
    best = np.argpartition(-probabilities, min(TOP, probabilities.shape[1] - 1), axis=1)[:, :TOP]
    largest = np.take_along_axis(probabilities, best, axis=1)
    order = np.argsort(-largest, axis=1, kind="stable")
    best, largest = np.take_along_axis(best, order, axis=1), np.take_along_axis(largest, order, axis=1)
    return best.astype(np.int16), largest.astype(np.float16)


def _bytes(values: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1)
