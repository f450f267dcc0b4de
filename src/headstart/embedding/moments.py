"""How far the inputs of a network's BatchNorm layers lie from what it saw in pre-training, layer by layer.

Per channel: (mean difference)^2 + (deviation difference)^2 in units of the running variance, the squared Wasserstein
distance between two normal distributions; per layer the median over the channels. Both terms are freed of the bias of
few pictures through the variance between pictures, so that 24 and 96 pictures estimate the same number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.backbone.graph_moments import Norm, backbone_moment_graph
from headstart.backbone.torch_only import why_in_torch
from headstart.cache_folder import write_to_cache
from headstart.embedding.embed import Embeddings, space_key
from headstart.engine.openvino import OpenVinoEngine
from headstart.engine.stream import StreamOptions, stream
from headstart.errors import MachineError
from headstart.images.load import Picture, load_square
from headstart.images.open import Source

PICTURES = 96
_VERSION = "moments1"  # change it when the shifts for the same pictures change
NO_NORMS = "this network has no BatchNorm layers, so it keeps no statistics of its own pictures"
NO_PICTURES = "no picture could be read"
NO_GRAPH = "this network runs in torch, where the statistics of its BatchNorm layers are not looked at"


@dataclass(frozen=True)
class Moments:
    """Shift of each BatchNorm layer's input, in the network's order.

    `layers`: names; `shifts` float64 `(layers,)`, 0 = as in pre-training, 1 = a whole deviation away; `pictures`: on
    how many it rests. `missing`: why there is nothing (then `layers` is empty), else None.
    """

    layers: tuple[str, ...]
    shifts: NDArray[np.float64]
    pictures: int
    missing: str | None = None


@dataclass(frozen=True)
class PictureMoments:
    """Per layer float32 `(n, channels)`: spatial means of `value - centre` and of its square, of n pictures."""

    norms: tuple[Norm, ...]
    means: tuple[NDArray[np.float32], ...]
    squares: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return len(self.means[0]) if self.means else 0


def channel_moments(
    embeddings: Embeddings,
    sources: Sequence[Source],
    rows: NDArray[np.integer],
    backbone: Backbone,
    cache: Path | None,
) -> Moments:
    """Shifts over at most 96 of the pictures `rows` (of `sources` and `embeddings` alike), kept in `cache` (None: not).

    Unreadable pictures are left out; a cache that cannot be written is done without. The first time it costs one pass
    over these pictures; after that the engine is not started. Raises MachineError when the graph cannot be made.
    """
    chosen = choose_rows(embeddings, rows)
    if not chosen:
        return _nothing(NO_PICTURES)
    kept = None if cache is None else _file(cache, backbone, [embeddings.pixel_hashes[row] for row in chosen])
    if kept is not None and (known := _read(kept)) is not None:
        return known
    try:
        found = picture_moments(
            chosen, backbone, lambda row: embeddings.squares.picture(row, sources[row], backbone.preprocessing)
        )
    except MachineError:
        if why_in_torch(backbone) is None:
            raise
        return _nothing(NO_GRAPH)
    except (OSError, ImportError, RuntimeError) as error:  # RuntimeError: OpenVINO cannot compile or run it
        lines = str(error).strip().splitlines()
        return _nothing(f"the network could not be measured: {lines[0] if lines else type(error).__name__}")
    moments = shifts(found) if len(found) or not found.norms else _nothing(NO_PICTURES)
    if kept is not None and (moments.pictures == len(chosen) or moments.missing == NO_NORMS):
        # Only what a warm run would find again; the backbone has said when the folder cannot be written.
        with suppress(OSError):
            write_to_cache(kept, _document(moments))
    return moments


def choose_rows(embeddings: Embeddings, rows: NDArray[np.integer], n: int = PICTURES) -> list[int]:
    """At most `n` readable rows with different pixels: those with the smallest pixel hashes, whatever their order."""
    first: dict[bytes, int] = {}
    for row in np.asarray(rows).tolist():
        if embeddings.errors[row] is None:
            first.setdefault(embeddings.pixel_hashes[row], row)
    return [first[key] for key in sorted(first)[:n]]


def picture_moments(
    items: Sequence[Any], backbone: Backbone, load: Callable[[Any], Picture] | None = None
) -> PictureMoments:
    """One pass over `items`; pictures that cannot be read or give no finite numbers are left out.

    `load` gives the square of an item; None: the items are sources.
    Raises MachineError (no graph), OSError (weights not readable), ImportError and RuntimeError (no engine).
    """
    graph, norms = backbone_moment_graph(backbone)
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for norm in norms for name in norm.outputs}
    if norms:
        engine = OpenVinoEngine(graph)
        load = load or (lambda source: load_square(source, backbone.preprocessing))
        for batch in stream(items, load, engine, StreamOptions()):
            good = np.ones(len(batch.indices), bool)
            for values in batch.outputs.values():
                good &= np.isfinite(values).all(axis=1)
            for name, values in batch.outputs.items():
                parts[name].append(values[good])
    empty = [np.empty((0, 0), np.float32)]
    means, squares = (tuple(np.concatenate(parts[norm.outputs[i]] or empty) for norm in norms) for i in (0, 1))
    return PictureMoments(norms, means, squares)


def shifts(found: PictureMoments, rows: NDArray[np.integer] | slice = slice(None)) -> Moments:
    """Shifts over the given pictures of `found`, all by default; at least one."""
    if not found.norms:
        return _nothing(NO_NORMS)
    values = [
        _layer_shift(norm, means[rows], squares[rows])
        for norm, means, squares in zip(found.norms, found.means, found.squares, strict=True)
    ]
    return Moments(tuple(norm.name for norm in found.norms), np.array(values), len(found.means[0][rows]))


def _layer_shift(norm: Norm, means: NDArray[np.float32], squares: NDArray[np.float32]) -> float:
    alive = norm.unit > 0
    if not alive.any():
        return 0.0
    unit = norm.unit[alive]
    each = means[:, alive].astype(np.float64) / unit
    mean = each.mean(axis=0)
    variance = (squares[:, alive].astype(np.float64) / unit**2).mean(axis=0) - mean**2
    # Variance of the mean over n pictures; it also is what their common variance lacks. One picture: unknown.
    error = each.var(axis=0, ddof=1) / len(each) if len(each) > 1 else np.zeros(len(unit))
    deviation = np.sqrt(np.maximum(variance + error, 0.0))
    return max(0.0, float(np.median(mean**2 - error + (deviation - 1.0) ** 2)))


def _nothing(reason: str) -> Moments:
    return Moments((), np.empty(0), 0, reason)


def _file(cache: Path, backbone: Backbone, hashes: Sequence[bytes]) -> Path:
    """Below `embeddings/`, so that it is counted, evicted and cleared with them."""
    digest = hashlib.sha256(f"{_VERSION} {space_key(backbone)} ".encode() + b"".join(hashes))
    return cache / "embeddings" / "moments" / f"{digest.hexdigest()[:32]}.json"


def _document(moments: Moments) -> bytes:
    document = {
        "layers": moments.layers,
        "shifts": moments.shifts.tolist(),
        "pictures": moments.pictures,
        "missing": moments.missing,
    }
    return json.dumps(document).encode()


def _read(path: Path) -> Moments | None:
    try:
        found = json.loads(path.read_bytes())
        values = np.array(found["shifts"], np.float64)
        layers, missing = tuple(map(str, found["layers"])), found["missing"]
        usable = values.shape == (len(layers),) and bool(np.isfinite(values).all()) and (bool(layers) == (not missing))
        return Moments(layers, values, int(found["pictures"]), missing) if usable else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: measured again and written over
