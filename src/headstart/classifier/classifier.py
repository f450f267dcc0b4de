"""Classifier: the saved thing in use. Pillow, numpy and an engine; never onnx or scikit-learn.

Torch only where no graph can hold the network.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from headstart.artefact import DOCUMENT, Artefact, read_classifier
from headstart.classifier.prediction import Prediction, rank
from headstart.engine.engine import Engine
from headstart.engine.stream import StreamBatch, StreamOptions, stream
from headstart.errors import ClassifierError, DataError, MachineError
from headstart.images.load import Picture, Source, load_square
from headstart.images.preprocess import Preprocessing
from headstart.images.printable import printable
from headstart.progress import Progress, Silent


@dataclass(frozen=True)
class Probabilities:
    """`values` float32 (n, K), rows of unreadable pictures NaN; `errors` says why, by position."""

    values: NDArray[np.float32]
    errors: dict[int, str]


class Classifier:
    """Preprocessing, backbone, head, class names and temperature, ready to predict. fp32 on the processor.

    The engine is compiled at the first prediction, beside the decoding of the first pictures. Can be used from several
    threads, and pickled (the engine is left out).
    """

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self.preprocessing = Preprocessing.from_json(dict(artefact.preprocessing))
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """The classifier in `folder`, which is a run's folder or the classifier/ in it.

        ClassifierError when it is missing, damaged, edited by hand or made by a newer version.
        """
        folder = Path(folder)
        where = folder if (folder / DOCUMENT).exists() else folder / "classifier"
        artefact = read_classifier(where)
        try:
            return cls(artefact)
        except ClassifierError as error:
            raise ClassifierError(f"{printable(str(where / DOCUMENT))}: {error}") from None

    @property
    def classes(self) -> tuple[str, ...]:
        """The K class names, in the order of the probabilities."""
        return self.artefact.classes

    @overload
    def predict(self, x: str | Source, top: int = 3) -> Prediction: ...
    @overload
    def predict(self, x: list[Any] | tuple[Any, ...], top: int = 3) -> list[Prediction]: ...
    def predict(self, x: Any, top: int = 3) -> Prediction | list[Prediction]:
        """One picture in, one Prediction out; a list in, a list out.

        A picture is a path, the bytes of a file, or an array: uint8 (h, w), (h, w, 3), (h, w, 4), or float in 0..1.
        An array (n, h, w, 3) counts as a list. What cannot be read gives a Prediction with `error`.
        """
        if is_many(x):
            return list(self.predict_each(x, top))
        return next(self.predict_each([x], top))

    def predict_each(
        self, sources: Sequence[str | Source], top: int = 3, progress: Progress | None = None
    ) -> Iterator[Prediction]:
        """Predictions of many pictures, in order, as they come; memory stays flat."""
        for batch in self._batches(sources, progress):
            rows = iter(batch.outputs["probabilities"]) if batch.indices else iter(())
            found = dict(zip(batch.indices, rows, strict=True))
            for index in sorted([*found, *batch.errors]):
                name = source_name(sources[index])
                if index in batch.errors:
                    yield Prediction(name, None, None, (), batch.errors[index])
                    continue
                ranked = rank(found[index], self.classes, top)
                yield Prediction(name, *ranked[0], ranked)

    def probabilities(self, sources: Sequence[str | Source], progress: Progress | None = None) -> Probabilities:
        """Calibrated probabilities of many pictures, and what could not be read."""
        values = np.full((len(sources), len(self.classes)), np.nan, np.float32)
        errors: dict[int, str] = {}
        for batch in self._batches(sources, progress):
            if batch.indices:
                values[list(batch.indices)] = batch.outputs["probabilities"]
            errors.update(batch.errors)
        return Probabilities(values, errors)

    def predict_proba(self, sources: Sequence[str | Source]) -> NDArray[np.float32]:
        """Calibrated probabilities (n, K); DataError names the first picture that cannot be read."""
        result = self.probabilities(sources)
        if result.errors:
            first = min(result.errors)
            name = source_name(sources[first]) or f"picture {first}"
            raise DataError(f"{name} cannot be read ({result.errors[first]}): leave it out or use predict")
        return result.values

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, K) of squares (n, side, side, 3) uint8 that are preprocessed already."""
        return self.engine().run(pixels)["probabilities"]

    def load_picture(self, source: str | Source) -> Picture:
        """`source` as this classifier sees it; BadImageError when it cannot be read."""
        return load_square(Path(source) if isinstance(source, str) else source, self.preprocessing)

    def engine(self) -> Engine:
        """The compiled model; compiled once. ClassifierError when the model does not run."""
        with self._lock:
            if self._engine is None:
                self._engine = self._compiled()
            return self._engine

    def _compiled(self) -> Engine:
        from headstart.engine.openvino import OpenVinoEngine

        engine: Engine
        try:
            if self.artefact.network is None:
                engine = OpenVinoEngine(self.artefact.model)
            else:
                from headstart.classifier.torch_classifier import TorchClassifier

                engine = TorchClassifier(self.artefact)
        except ImportError as error:
            raise MachineError(f"predicting needs the package openvino ({error}): pip install openvino") from None
        except RuntimeError as error:
            raise ClassifierError(
                f"the classifier's model does not run: {' '.join(str(error).split())[:200]}"
            ) from None
        if engine.side != self.preprocessing.side:
            raise ClassifierError(
                f"the classifier's model takes pictures of {engine.side} pixels, "
                f"its preprocessing makes {self.preprocessing.side}: run `headstart fit` again"
            )
        return engine

    def _batches(self, sources: Sequence[str | Source], progress: Progress | None) -> Iterator[StreamBatch]:
        told = progress or Silent()
        told.start("predict", len(sources))
        options = StreamOptions(progress=lambda done, _total: told.update(done))
        return stream(sources, self.load_picture, self.engine, options)

    def __reduce__(self) -> tuple[type[Classifier], tuple[Artefact]]:
        return Classifier, (self.artefact,)

    def __repr__(self) -> str:
        names = ", ".join(printable(name) for name in self.classes[:4]) + (", …" if len(self.classes) > 4 else "")
        return f"<Classifier of {len(self.classes)} classes: {names}>"


def is_many(x: object) -> bool:
    """Whether `x` is a collection of pictures and not one picture."""
    if isinstance(x, np.ndarray):
        return x.ndim == 4 or x.dtype.kind in "OUS"
    return not isinstance(x, str | bytes | Path)


def source_name(source: object) -> str | None:
    """The file's name, safe to print; None for bytes and arrays."""
    return printable(str(source)) if isinstance(source, str | Path) else None
