"""Squares kept while few pictures are embedded: who looks at them again decodes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.images.load import Picture, Source, load_square
from headstart.images.preprocess import Preprocessing

ROOM = 64_000_000  # bytes: 425 pictures of 224 pixels; more would be decoded again


@dataclass(frozen=True)
class Squares:
    """Pixels uint8 `(side, side, 3)` by row; `wanted`: all that are decoded, not those that came from the cache."""

    wanted: bool = False
    kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def keep(self, row: int, picture: Picture) -> None:
        """Called by the decode threads."""
        if self.wanted:
            self.kept[row] = picture.pixels

    def picture(self, row: int, source: Source, preprocessing: Preprocessing) -> Picture:
        """What `load_square` gives for `source`, the picture of `row`; raises what it raises."""
        pixels = self.kept.get(row)
        if pixels is None:
            return load_square(source, preprocessing)
        width, height = preprocessing.side, preprocessing.side
        return Picture(pixels, width, height, None, b"", np.empty((0, 0), np.uint8))


def squares_of(n: int, side: int) -> Squares:
    """Kept when those of all `n` pictures find room."""
    return Squares(n * side * side * 3 <= ROOM)
