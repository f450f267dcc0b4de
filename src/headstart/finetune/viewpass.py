"""One pass over pictures in which each is decoded once and all its views go through the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.engine.engine import Engine, Outputs, Pixels, T
from headstart.engine.stream import StreamOptions, stream
from headstart.errors import DataError
from headstart.finetune.views import View, apply_view
from headstart.images.load import Picture, load_image
from headstart.images.open import Source
from headstart.images.preprocess import Preprocessing

_WAITING = 64  # squares (150 KB each) that may wait for the engine


@dataclass(frozen=True)
class ViewPass:
    """What to do: `views` go through the engine; `keep(row, pixel_hash, squares)` gets all of `kept` in a thread.

    `squares`: uint8 `(len(kept), side, side, 3)`. `progress(done, total)` counts pictures.
    """

    preprocessing: Preprocessing
    views: tuple[View, ...]
    kept: tuple[View, ...] = ()
    keep: Callable[[int, bytes, Sequence[NDArray[np.uint8]]], None] | None = None
    progress: Callable[[int, int], None] | None = None


def pass_over(
    sources: Sequence[Source], what: ViewPass, engine: Callable[[], Engine]
) -> Iterator[tuple[tuple[int, ...], Outputs]]:
    """Row numbers and outputs `(rows, views, ...)`, in order; without views the engine is never made.

    DataError for a picture that cannot be read: those that could not were removed before, so it has changed since.
    """
    count = len(what.views)
    options = StreamOptions(
        queue=max(4, _WAITING // max(1, count)),
        ahead=max(4, _WAITING // max(1, count)),
        pad=True,
        progress=what.progress,
    )

    def load(row: int) -> Picture | None:
        picture = load_image(sources[row], what.preprocessing)
        # Views are the same in both lists as far as they go, so each is made once.
        longer = max(what.views, what.kept, key=len)
        squares = [apply_view(picture.pixels, view, picture.pixel_hash) for view in longer]
        if what.keep is not None:
            what.keep(row, picture.pixel_hash, squares[: len(what.kept)])
        return replace(picture, pixels=np.stack(squares[:count])) if count else None

    for batch in stream(range(len(sources)), load, lambda: _EachView(engine(), count), options):
        for row, reason in batch.errors.items():
            raise DataError(f"{_name(sources[row], row)}: cannot be read any more ({reason}); it could a moment ago")
        if batch.indices:
            yield batch.indices, batch.outputs


def _name(source: Source, row: int) -> str:
    return f"picture {row + 1}" if isinstance(source, bytes | np.ndarray) else str(source)


class _EachView:
    """An engine for pictures `(n, views, side, side, 3)`: cut into the batches the real one likes, joined after."""

    def __init__(self, engine: Engine, views: int) -> None:
        self._engine, self._views = engine, views
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.side, self.batch = engine.side, engine.batch

    def run(self, batch: Pixels) -> Outputs:
        return next(iter(self.stream([(None, batch)])))[1]

    def stream(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Outputs]]:
        pieces: list[Outputs] = []
        for (tag, last), outputs in self._engine.stream(self._pieces(batches)):
            pieces.append(outputs)
            if last:
                yield tag, {name: self._join([piece[name] for piece in pieces]) for name in outputs}
                pieces = []

    def _pieces(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[tuple[T, bool], Pixels]]:
        for tag, batch in batches:
            flat = batch.reshape(-1, *batch.shape[2:])
            for start in range(0, len(flat), self.batch):
                end = start + self.batch
                yield (tag, end >= len(flat)), flat[start:end]

    def _join(self, parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return whole.reshape(-1, self._views, *whole.shape[1:])
