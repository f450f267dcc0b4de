"""Where the classifier looked in a picture, and the training pictures most like it; from RUN/explain where it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.artefact import Artefact
from headstart.classifier.explain import Explainer, explainer
from headstart.classifier.nearest import Index, load_index, nearest
from headstart.errors import HeadstartError
from headstart.images.load import BadImageError, Limits, read_bytes
from headstart.images.printable import printable
from headstart.images.thumbnail import seen_part
from headstart.serving.decoders import Square

FOLDER = "explain"
NEIGHBOURS = 6


@dataclass(frozen=True)
class Look:
    """`heat` and `nearest` as in `schema`; None and empty where there are none."""

    heat: dict[str, Any] | None
    nearest: list[dict[str, Any]]


class Looks:
    """Explains predictions; `heat` and `nearest` say what it can tell. Its network is compiled when first needed."""

    def __init__(self, artefact: Artefact, index: Index | None) -> None:
        self._explainer: Explainer | None = explainer(artefact)
        self._index = index
        self._lock = threading.Lock()

    @classmethod
    def read(cls, artefact: Artefact, folder: Path) -> Looks:
        """Of the run in `folder`; without its explain/ there are no nearest pictures."""
        try:
            index = load_index(folder / FOLDER)
        except HeadstartError:
            return cls(artefact, None)
        fits = index.mean.shape == artefact.head["mean"].shape
        return cls(artefact, index if fits and len(index) else None)

    @property
    def heat(self) -> bool:
        """Whether heat maps may be had; known for sure once the first was asked for."""
        return self._explainer is not None

    @property
    def nearest(self) -> bool:
        """Whether there is an index of training pictures."""
        return self._index is not None and self._explainer is not None

    def at(self, squares: list[Square], classes: NDArray[np.int64]) -> list[Look]:
        """One look per square, for `classes` (n,). Several threads may call it; they wait for each other."""
        with self._lock:
            if self._explainer is None:
                return [Look(None, []) for _ in squares]
            try:
                # One by one: a batch of feature maps of every depth would be the largest thing in memory.
                looks = [self._one(self._explainer, square, classes[k : k + 1]) for k, square in enumerate(squares)]
            except HeadstartError:  # a network that cannot be explained: then it is not
                self._explainer = None
                return [Look(None, []) for _ in squares]
        return looks

    def _one(self, explainer: Explainer, square: Square, classes: NDArray[np.int64]) -> Look:
        looked = explainer.look(square.pixels[None], classes)
        heat = None
        if looked.heat is not None:
            values = np.round(np.clip(looked.heat[0], 0, 1) * 255).astype(int)
            box = seen_part((square.width, square.height), explainer.preprocessing)
            rows, columns = values.shape
            heat = {"rows": rows, "columns": columns, "values": values.ravel().tolist(), "box": list(box)}
        return Look(heat, self._nearest(looked.features))

    def _nearest(self, features: NDArray[np.float32]) -> list[dict[str, Any]]:
        index = self._index
        if index is None:
            return []
        rows, cosines = nearest(index, index.place(features), NEIGHBOURS)
        return [
            {
                "index": int(row),
                "name": printable(index.ids[row]),
                "label": index.labels[row],
                "similarity": round(float(cosine), 4),
                "picture": self._place(int(row)) is not None,
            }
            for row, cosine in zip(rows[0], cosines[0], strict=True)
            if row >= 0
        ]

    def training_picture(self, row: int, limits: Limits) -> bytes | None:
        """The bytes of training picture `row` of the index; None when there is none, or not any more."""
        place = self._place(row)
        if place is None:
            return None
        try:
            return read_bytes(place, limits)
        except (BadImageError, HeadstartError):
            return None

    def _place(self, row: int) -> Path | None:
        """Its file; only one that lies in the data folder, links followed."""
        index = self._index
        if index is None or index.root is None or not 0 <= row < len(index):
            return None
        try:
            root = Path(index.root).resolve()
            place = (root / index.ids[row]).resolve()
            return place if place.is_relative_to(root) and place.is_file() else None
        except (OSError, ValueError, RuntimeError):  # a NUL in the name, a loop of links
            return None
