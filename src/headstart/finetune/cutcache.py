"""The cut cache: what the frozen front part of the network gives for every picture and view, computed once.

Training behind a cut then reads activations instead of running what does not change. One decode per picture and one
fp32 pass per view serve all cuts together. Cut c in 1.. reads the feature map of block c - 1; cut 0 reads pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.backbone.graph_maps import map_graph, map_name, map_shapes
from headstart.engine.engine import Engine, Outputs
from headstart.engine.openvino import OpenVinoEngine
from headstart.finetune.room import CutShape, Room, disk_room, memory_room, share_room
from headstart.finetune.scratch import FileRows, MemoryRows, Rows
from headstart.finetune.viewpass import ViewPass, pass_over
from headstart.finetune.views import UNTOUCHED, View, apply_view
from headstart.images.open import Source

IntArray = NDArray[np.integer]
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class CutOptions:
    """Where and for whom.

    `limit_bytes` of memory where the disk has no room (None: 2 GiB, or a quarter of what is available); `scratch`
    folder for the files (None: in the cache folder); `head_depths`: positions of the depths the head reads, ascending;
    `progress(done, total)` counts pictures.
    """

    limit_bytes: int | None = None
    scratch: Path | None = None
    head_depths: tuple[int, ...] = ()
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Stored:
    """One cut: `maps` `(views * n, H, W, C)` float16 (cut 0: uint8), `vectors` `(views * n, d_low)` float16."""

    maps: Rows
    vectors: NDArray[np.float16]


class CutCache:
    """What `build_cut_cache` made. A context manager; `close` frees memory and files.

    `notes` tell the user what had no room.
    """

    def __init__(self, n: int, views: tuple[View, ...], stored: dict[int, Stored], notes: tuple[str, ...]) -> None:
        self.n, self.notes = n, notes
        self._views, self._stored = views, stored
        self._identities = [b""] * n

    @property
    def bytes(self) -> int:
        """Bytes of activations in memory."""
        return sum(s.vectors.nbytes + (0 if s.maps.in_file else s.maps.nbytes) for s in self._stored.values())

    @property
    def disk_bytes(self) -> int:
        """Bytes of activations in files."""
        return sum(s.maps.nbytes for s in self._stored.values() if s.maps.in_file)

    @property
    def cuts(self) -> tuple[int, ...]:
        """The cuts that can be read, in the order asked for."""
        return tuple(self._stored)

    def views(self, cut: int) -> tuple[View, ...]:
        """The views that `batch` gives at `cut`: at cut 0 all, elsewhere those that had room."""
        return self._views if cut == 0 else self._views[: self._of(cut).maps.count // self.n]

    def batch(self, cut: int, rows: IntArray, views_of_rows: IntArray) -> tuple[NDArray[Any], NDArray[np.float16]]:
        """Contiguous copies of the activations of `rows` `(m,)`, each through its own view; safe from several threads.

        Maps `(m, H, W, C)` float16 (cut 0: pixels, uint8), and the pooled vectors `(m, d_low)` float16 of the head's
        depths below the cut, side by side.
        """
        stored = self._of(cut)
        rows, views = np.asarray(rows, np.int64), np.asarray(views_of_rows, np.int64)
        for what, given, limit in (("rows", rows, self.n), ("views", views, len(self.views(cut)))):
            if len(given) and (given.min() < 0 or given.max() >= limit):
                raise IndexError(f"{what} at cut {cut} must be in 0..{limit - 1}")
        missing = np.flatnonzero(views >= stored.maps.count // self.n)  # only at cut 0: made now from the first view
        at = views * self.n + rows
        at[missing] = rows[missing]
        maps = stored.maps.take(at)
        for j in missing:
            maps[j] = apply_view(maps[j], self._views[views[j]], self._identities[rows[j]])
        return maps, np.take(stored.vectors, at, axis=0)

    def release(self, cut: int) -> None:
        """Free the memory or file of one cut that is not needed any more."""
        self._stored.pop(cut, None)

    def close(self) -> None:
        """Free everything."""
        self._stored.clear()

    def __enter__(self) -> CutCache:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _of(self, cut: int) -> Stored:
        if cut not in self._stored:
            raise ValueError(f"cut {cut} is not in the cache (it has {', '.join(map(str, self._stored)) or 'none'})")
        return self._stored[cut]


def build_cut_cache(
    sources: Sequence[Source],
    backbone: Backbone,
    cuts: Sequence[int],
    views: Sequence[View] = (UNTOUCHED,),
    options: CutOptions = CutOptions(),
) -> CutCache:
    """Compute the activations at `cuts` for every view of `sources` (readable pictures; the first view is untouched).

    DataError when a picture cannot be read any more; ValueError for a cut the backbone does not have.
    """
    if not len(sources) or not views or views[0] != UNTOUCHED:
        raise ValueError("pictures are needed, and the first view must be the untouched picture")
    shapes = cut_shapes(backbone, cuts, options.head_depths)
    scratch = options.scratch or backbone.cache / "cuts"
    memory = memory_room() if options.limit_bytes is None else options.limit_bytes
    stored, notes = _allocate((len(sources), len(views)), shapes, memory, scratch)
    cache = CutCache(len(sources), tuple(views), stored, ())
    cache.notes = (*notes, *_lost_views(cache, len(views)))
    try:
        _fill(cache, sources, backbone, options)
    except BaseException:
        cache.close()
        raise
    return cache


def cut_shapes(backbone: Backbone, cuts: Sequence[int], head_depths: Sequence[int] = ()) -> dict[int, CutShape]:
    """What one view of one picture holds at every cut. ValueError for a cut the backbone does not have."""
    last = len(backbone.depths) - 1
    if wrong := [cut for cut in cuts if not 0 <= cut <= last]:
        raise ValueError(f"cut {wrong[0]} does not exist: {backbone.name} has cuts 0 to {last}")
    names = {cut: backbone.depths[cut - 1].name for cut in cuts if cut}
    maps = map_shapes(backbone.graph(), list(names.values())) if names else {}
    side = backbone.preprocessing.side
    pixels = CutShape((side, side, 3), 0, 1)
    widths = {cut: sum(backbone.depths[d].dim for d in head_depths if d < cut) for cut in cuts}
    return {cut: CutShape(maps[names[cut]], widths[cut]) if cut else pixels for cut in dict.fromkeys(cuts)}


def cut_engine(backbone: Backbone, cuts: Sequence[int], head_depths: Sequence[int] = ()) -> OpenVinoEngine:
    """The frozen part up to the deepest of `cuts` (above 0), in fp32: maps at the cuts and the vectors below them."""
    names = [backbone.depths[cut - 1].name for cut in cuts]
    vectors = [backbone.depths[d].name for d in head_depths if d < max(cuts)]
    return OpenVinoEngine(map_graph(backbone.graph(), names), [*map(map_name, names), *vectors])


def _allocate(
    size: tuple[int, int], shapes: dict[int, CutShape], memory: int, scratch: Path
) -> tuple[dict[int, Stored], list[str]]:
    """Room for `size` (pictures, views); in memory alone where the disk does not take what it should have room for."""
    room, why = share_room(*size, shapes, memory, disk_room(scratch)), "memory and disk are too small"
    try:
        stored = {cut: _stored(views * size[0], cut, shapes, scratch, room) for cut, views in room.views.items()}
        return stored, [_no_room(cut, why) for cut in room.dropped]
    except (OSError, MemoryError) as error:
        why = f"{scratch}: {getattr(error, 'strerror', None) or 'not enough memory'}"
    room = share_room(*size, shapes, memory, 0)
    stored, dropped = {}, list(room.dropped)
    for cut, views in room.views.items():
        try:
            stored[cut] = _stored(views * size[0], cut, shapes)
        except MemoryError:
            dropped.append(cut)
    return stored, [_no_room(cut, why) for cut in dropped]


def _stored(
    count: int, cut: int, shapes: dict[int, CutShape], scratch: Path | None = None, room: Room | None = None
) -> Stored:
    """Zeros in memory or a file; memory that is refused becomes a file. Without a `scratch` folder: MemoryError."""
    vectors = np.zeros((count, shapes[cut].vector), np.float16)
    shape, kind = shapes[cut].map, np.float16 if cut else np.uint8
    if scratch is None or room is None or cut not in room.on_disk:
        try:
            return Stored(MemoryRows(count, shape, kind), vectors)
        except MemoryError:
            if scratch is None:
                raise  # else it is a limit nobody told us about; a file may still do
    return Stored(FileRows(scratch, count, shape, kind), vectors)


def _no_room(cut: int, reason: str) -> str:
    return f"no room to keep the activations at cut {cut} ({reason})"


def _lost_views(cache: CutCache, asked: int) -> list[str]:
    few = {cut: len(cache.views(cut)) for cut in cache.cuts if len(cache.views(cut)) < asked}
    return [f"at cut {cut} {kept} of {asked} views are kept, more have no room" for cut, kept in few.items()]


def _fill(cache: CutCache, sources: Sequence[Source], backbone: Backbone, options: CutOptions) -> None:
    if not cache.cuts:
        return
    through = {cut: len(cache.views(cut)) for cut in cache.cuts if cut}
    pixels = cache._stored.get(0)
    views = cache._views
    what = ViewPass(
        backbone.preprocessing,
        views[: max(through.values(), default=0)],
        views[: pixels.maps.count // cache.n] if pixels else (),
        partial(_keep_pixels, cache, pixels),
        options.progress,
    )
    depths = [d for d in sorted(options.head_depths) if through and d < max(through)]
    make: Callable[[], Engine] = partial(cut_engine, backbone, list(through), depths)
    for rows, outputs in pass_over(sources, what, make):
        for cut, kept in through.items():
            vectors = [backbone.depths[d].name for d in depths if d < cut]
            map_of_cut = map_name(backbone.depths[cut - 1].name)
            keep_maps(cache._of(cut), rows, kept, outputs, [map_of_cut, *vectors])


def _keep_pixels(
    cache: CutCache, pixels: Stored | None, row: int, identity: bytes, squares: Sequence[NDArray[np.uint8]]
) -> None:
    cache._identities[row] = identity
    for view, square in enumerate(squares):
        if pixels is not None:
            pixels.maps.put(view * cache.n + row, square)


def keep_maps(stored: Stored, rows: Sequence[int], views: int, outputs: Outputs, names: Sequence[str]) -> None:
    """Put outputs `(rows, views, ...)` in their places, in float16, maps channels last.

    `names`: the map's output, then those of the vectors.
    """
    n = stored.maps.count // views
    maps = np.clip(outputs[names[0]], -_LARGEST, _LARGEST)
    for j, row in enumerate(rows):
        for view in range(views):
            at = view * n + row
            stored.maps.put(at, maps[j, view].transpose(1, 2, 0))
            if len(names) > 1:
                stored.vectors[at] = np.concatenate([outputs[name][j, view] for name in names[1:]])
