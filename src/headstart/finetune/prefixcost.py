"""What the cut cache would cost, measured on a few pictures before it is built."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from headstart.backbone.backbone import Backbone
from headstart.backbone.graph_maps import map_name
from headstart.engine.cores import usable_cores
from headstart.engine.engine import Pixels
from headstart.engine.openvino import OpenVinoEngine
from headstart.finetune.cutcache import Stored, cut_engine, cut_shapes, keep_maps
from headstart.finetune.scratch import MemoryRows
from headstart.finetune.views import View, apply_view
from headstart.images.load import load_image
from headstart.images.open import Source


@dataclass(frozen=True)
class PrefixCost:
    """Seconds of this machine.

    `decode` and `view`: of one core, per picture and per further view. `engine[cut]`: of all `cores`, per picture and
    view, for the part in front of the cut; `start[cut]`: once, until that part is compiled.
    """

    decode: float
    view: float
    engine: Mapping[int, float]
    start: Mapping[int, float]
    cores: int

    def seconds(self, n: int, cuts: Sequence[int], views: int) -> float:
        """Predicted wall time of `build_cut_cache` for `n` pictures: one pass up to the deepest cut serves all."""
        work = n * (self.decode + (views - 1) * self.view) / self.cores
        deepest = max((cut for cut in cuts if cut), default=0)
        return work + (self.start[deepest] + n * views * self.engine[deepest] if deepest else 0.0)


def measure_prefix(
    sources: Sequence[Source], backbone: Backbone, cuts: Sequence[int], views: Sequence[View], seconds: float = 0.25
) -> PrefixCost:
    """Measure on `sources` (some 16 readable pictures; evenly chosen ones say most) and `seconds` of engine per cut.

    Takes some 0.6 s per cut: every part is compiled.
    """
    decode, view, squares = _pictures(sources, backbone, views)
    engine, start = {}, {}
    shapes = cut_shapes(backbone, cuts)
    for cut in sorted({cut for cut in cuts if cut}):
        begin = time.perf_counter()
        front = cut_engine(backbone, [cut])
        start[cut] = time.perf_counter() - begin
        place = Stored(MemoryRows(len(squares), shapes[cut].map, np.float16), np.zeros((len(squares), 0), np.float16))
        engine[cut] = _pass(front, squares, place, map_name(backbone.depths[cut - 1].name), seconds)
    return PrefixCost(decode, view, engine, start, usable_cores())


def _pass(front: OpenVinoEngine, squares: Pixels, place: Stored, name: str, seconds: float) -> float:
    """Wall seconds per picture of the engine and of keeping what it gives, after one round of warm-up."""
    size = front.batch
    batches = [
        (range(at, min(at + size, len(squares))), squares[at : at + size]) for at in range(0, len(squares), size)
    ]
    for _ in front.stream(batches[:2]):
        pass
    begin, done = time.perf_counter(), 0

    def until_late() -> Iterator[tuple[range, Pixels]]:
        for batch in cycle(batches):
            yield batch
            if time.perf_counter() - begin >= seconds:
                return

    for rows, outputs in front.stream(until_late()):
        keep_maps(place, rows, 1, {name: outputs[name][:, None]}, [name])
        done += len(rows)
    return (time.perf_counter() - begin) / done


def _pictures(sources: Sequence[Source], backbone: Backbone, views: Sequence[View]) -> tuple[float, float, Pixels]:
    """Core-seconds of decoding a picture, and of one further view of it; and the squares."""
    begin = time.thread_time()
    pictures = [load_image(source, backbone.preprocessing) for source in sources]
    middle = time.thread_time()
    for picture in pictures:
        for view in views[1:]:
            np.ascontiguousarray(apply_view(picture.pixels, view, picture.pixel_hash))
    end = time.thread_time()
    squares = np.stack([picture.pixels for picture in pictures])
    return (middle - begin) / len(sources), (end - middle) / (len(sources) * max(1, len(views) - 1)), squares
