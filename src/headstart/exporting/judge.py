"""Is int8 worth having? Right answers lost on pictures that did not calibrate it, and speed, measured here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.engine.choose import measure
from headstart.engine.engine import Engine
from headstart.engine.openvino import OpenVinoEngine
from headstart.exporting.runtime import OnnxRuntimeEngine
from headstart.images.open import Source

MOST_LOST = 0.005  # of all answers
ROUNDS, SECONDS = 3, 0.4


@dataclass(frozen=True)
class Verdict:
    """What int8 costs and brings. Fractions 0..1; pictures per second.

    `fp32`, `int8`: share of `n` pictures that are right (`how` says which pictures; without labels: share with the
    class of the classifier). `speed`: per engine the two rates, medians of interleaved measurements.
    """

    n: int
    how: str
    fp32: float
    int8: float
    agreement: float
    speed: dict[str, tuple[float, float]]
    bytes: tuple[int, int]

    @property
    def lost(self) -> float:
        """Share of answers lost; negative when int8 is right more often."""
        return self.fp32 - self.int8

    @property
    def gain(self) -> float:
        """How many times as fast it is under ONNX Runtime."""
        before, after = self.speed["onnxruntime"]
        return after / before

    @property
    def kept(self) -> bool:
        """Whether it loses at most half a point and is faster."""
        return self.lost <= MOST_LOST + 1e-9 and self.gain > 1

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        speed = {name: {"fp32": before, "int8": after} for name, (before, after) in self.speed.items()}
        sizes = {"fp32": self.bytes[0], "int8": self.bytes[1]}
        return {**asdict(self), "speed": speed, "bytes": sizes, "lost": self.lost, "gain": self.gain, "kept": self.kept}

    def sentence(self) -> str:
        """Both figures of both models, for people."""
        rates = ", ".join(
            f"{after:.0f} pictures a second instead of {before:.0f} under {_ENGINES[name]}"
            for name, (before, after) in self.speed.items()
        )
        return (
            f"int8 gives {100 * self.int8:.2f} % right answers, fp32 {100 * self.fp32:.2f} %, on {self.n} {self.how}; "
            f"the same class on {100 * self.agreement:.2f} %; {rates}; "
            f"{self.bytes[1] / 1e6:.1f} MB instead of {self.bytes[0] / 1e6:.1f} MB"
        )


_ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def judge(
    models: tuple[bytes, bytes],
    classifier: Classifier,
    sources: Sequence[Source],
    labels: NDArray[np.int64],
    how: str,
) -> Verdict:
    """Compare `models` (fp32, int8) on `sources`, paired; `labels` (n,) are -1 throughout when there are none."""
    engines = tuple(OnnxRuntimeEngine(model) for model in models)
    (before, readable), (after, _) = (_answers(engine, classifier, sources) for engine in engines)
    truth = labels[readable] if (labels >= 0).all() else before
    speed = {
        "onnxruntime": rates(*engines),
        "openvino": rates(*(OpenVinoEngine(model) for model in models)),
    }
    return Verdict(
        n=len(truth),
        how=how,
        fp32=float((before == truth).mean()),
        int8=float((after == truth).mean()),
        agreement=float((before == after).mean()),
        speed=speed,
        bytes=(len(models[0]), len(models[1])),
    )


def rates(first: Engine, second: Engine) -> tuple[float, float]:
    """Pictures per second of both, measured in turns: the medians."""
    rounds = [(measure(first, SECONDS), measure(second, SECONDS)) for _ in range(ROUNDS)]
    return statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)


def _answers(
    engine: Engine, classifier: Classifier, sources: Sequence[Source]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Class and index of every readable picture."""
    from headstart.engine.stream import stream

    classes: list[int] = []
    kept: list[int] = []
    for batch in stream(sources, classifier.load_picture, engine):
        if batch.indices:
            classes += batch.outputs["probabilities"].argmax(axis=1).tolist()
            kept += batch.indices
    return np.array(classes, np.intp), np.array(kept, np.intp)
