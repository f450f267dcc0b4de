"""Gather: pictures through an explainer, and what is kept of them: thumbnails, heat maps, vectors. Within a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.explain import Explainer
from headstart.engine.stream import stream
from headstart.images.load import Picture, Source, load_square
from headstart.images.thumbnail import Size, Thumbnail, load_with_thumbnail, make_thumbnail

SHOWN_BYTES, NEIGHBOUR_BYTES = 1_100_000, 1_300_000  # of all thumbnails together
NEIGHBOUR_SIDE = 96


@dataclass
class Gathered:
    """What is known about pictures, by their position in `sources`. What cannot be read, or comes too late, is missing.

    `deadline` on the monotonic clock. `rate`: pictures a second through the network, 0 when nothing was measured.
    """

    sources: Sequence[Source]
    explainer: Explainer
    deadline: float
    thumbs: dict[int, Thumbnail] = field(default_factory=dict)
    heat: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    rate: float = 0.0

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def show(self, rows: Sequence[int], classes: Sequence[int]) -> None:
        """Thumbnails, vectors, and heat maps that ask for `classes`. MachineError when the disk is gone."""
        size = Size(most_bytes=SHOWN_BYTES // max(1, len(rows)))

        def load(row: int) -> Picture | None:
            if self.left < 0:
                return None
            picture, self.thumbs[row] = load_with_thumbnail(self.sources[row], self.explainer.preprocessing, size)
            return picture

        self._pass(rows, load, np.asarray(classes))

    def measure(self, rows: Sequence[int]) -> None:
        """Vectors only."""

        def load(row: int) -> Picture | None:
            return load_square(self.sources[row], self.explainer.preprocessing) if self.left >= 0 else None

        self._pass(rows, load, None)

    def glance(self, rows: Sequence[int]) -> None:
        """Small thumbnails only, of pictures that have none yet."""
        size = Size(NEIGHBOUR_SIDE, NEIGHBOUR_BYTES // max(1, len(rows)))

        def load(row: int) -> None:
            if self.left >= 0 and row not in self.thumbs:
                self.thumbs[row] = make_thumbnail(self.sources[row], size)

        for _ in stream(rows, load, self.explainer.engine):
            pass  # nothing goes through the network

    def _pass(self, rows: Sequence[int], load: Any, classes: NDArray[np.integer] | None) -> None:
        began, first = 0.0, 0
        for batch in stream(rows, load, self.explainer.engine):
            if not batch.indices:
                continue
            some, at = [rows[i] for i in batch.indices], list(batch.indices)
            looked = self.explainer.read(batch.outputs, None if classes is None else classes[at])
            self.features.update(zip(some, looked.features, strict=True))
            if classes is not None and looked.heat is not None:
                self.heat.update(zip(some, looked.heat, strict=True))
            began, first = (began, first) if began else (time.monotonic(), len(self.features))
        if len(self.features) > first:  # the first batch waited for the network to be compiled
            self.rate = (len(self.features) - first) / max(time.monotonic() - began, 1e-6)
