"""Explainer: where a saved classifier looked, from the classifier alone. Also after fine-tuning.

Torch is imported only where no graph can hold the network.

The classifier's own network gives probabilities, vectors and feature maps in one pass. With a patch of 56 of 224 pixels
as the only evidence for the class the strongest place lay in the patch's quarter in 200 of 200 pictures, and 91 % of
the heat (last stage fine-tuned: 195 of 200, 90 %); with 40 pixels in 190 of 200, and 75 % (196, 87 %): `python
benchmarks/heat_maps.py --sets SETS`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.artefact import Artefact
from headstart.backbone.graph_maps import map_name
from headstart.classifier.build import OUTPUT
from headstart.classifier.explain_graph import explain_graph
from headstart.classifier.heat import as_map, evidence, grid_of, heat_of, on_one_grid, weights_for
from headstart.engine.engine import Engine, Outputs
from headstart.errors import ClassifierError, MachineError
from headstart.head.layered import Dense, LayeredHead, layers_of
from headstart.head.linear import LinearHead
from headstart.images.preprocess import Preprocessing


@dataclass(frozen=True)
class Looked:
    """What the classifier saw in n pictures.

    `probabilities` float32 (n, K), its own; `features` float32 (n, d), the vectors its head reads; `heat` float32
    (n, h, w), 0..1, 1 where most speaks for the class asked about, or None when it cannot be told.
    """

    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]
    heat: NDArray[np.float32] | None


class Explainer:
    """A saved classifier that also says where it looked. Made by `explainer`; safe to use from several threads."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self.preprocessing = Preprocessing.from_json(dict(artefact.preprocessing))
        self._layers = layers_of(head_of(artefact))
        self._mean = np.asarray(artefact.head["mean"], np.float64)
        self._engine: Engine | None = None
        self._maps: dict[str, str] = {}  # depth -> output that is its feature map
        self._keys: dict[str, str] = {}  # what the engine calls an output -> its name, where these differ
        self._why = ""
        self._lock = threading.Lock()

    def look(self, pixels: NDArray[np.uint8], classes: NDArray[np.integer] | None = None) -> Looked:
        """Squares `(n, side, side, 3)` uint8 through the network; heat for `classes` `(n,)`, by default the best."""
        return self.read(self.engine().run(pixels), classes)

    def read(self, outputs: Outputs, classes: NDArray[np.integer] | None = None) -> Looked:
        """The same from outputs that its engine gave, for those who stream."""
        outputs = {self._keys.get(key, key): value for key, value in outputs.items()}
        probabilities = outputs[OUTPUT]
        features = np.concatenate([outputs[depth] for depth in self.artefact.depths], axis=1)
        wanted = probabilities.argmax(axis=1) if classes is None else np.asarray(classes)
        return Looked(probabilities, features, self._heat(outputs, features, wanted))

    @property
    def why(self) -> str:
        """One sentence on what the heat maps cannot show; empty when they show all that the head reads."""
        self.engine()
        return self._why

    @property
    def has_heat(self) -> bool:
        """Whether there are heat maps."""
        self.engine()
        return bool(self._maps)

    def engine(self) -> Engine:
        """The compiled network; compiled once. ClassifierError when the model does not run."""
        with self._lock:
            if self._engine is None:
                self._engine = self._opened()
            return self._engine

    def _opened(self) -> Engine:
        from headstart.engine.openvino import OpenVinoEngine

        engine: Engine
        if self.artefact.network is not None:
            from headstart.classifier.torch_classifier import TorchClassifier

            engine = TorchClassifier(self.artefact, maps=True)
            return self._tried(engine, None, {depth: map_name(depth) for depth in self.artefact.depths})
        try:
            graph = explain_graph(self.artefact.model, self.artefact.depths)
            engine = OpenVinoEngine(graph.model)
        except ImportError as error:
            raise MachineError(
                f"explaining needs the package {error.name} ({error}): pip install {error.name}"
            ) from None
        except (RuntimeError, ValueError) as error:
            raise ClassifierError(
                f"the classifier's model cannot be explained: {' '.join(str(error).split())[:200]}"
            ) from None
        return self._tried(engine, graph.outputs, graph.maps)

    def _tried(self, engine: Engine, names: Sequence[str] | None, maps: Mapping[str, str]) -> Engine:
        """`engine`, after one black square has shown which of `maps` have places; `names` of its outputs, in order."""
        side = self.preprocessing.side
        tried = engine.run(np.zeros((1, side, side, 3), np.uint8))
        # Where a step does nothing OpenVINO removes it and calls the output as that step's input was called.
        self._keys = dict(zip(tried, names or tried, strict=True))
        shapes = {self._keys[key]: value.shape for key, value in tried.items()}
        self._maps = {depth: name for depth, name in maps.items() if grid_of(shapes[name]) is not None}
        self._why = _why(self.artefact.depths, self._maps)
        return engine

    def _heat(
        self, outputs: Outputs, features: NDArray[np.float32], classes: NDArray[np.integer]
    ) -> NDArray[np.float32] | None:
        if not self._maps:
            return None
        weights, at, parts = weights_for(self._layers, features, classes), 0, []
        for depth in self.artefact.depths:
            span = slice(at, at + outputs[depth].shape[1])
            at = span.stop
            if depth in self._maps:
                parts.append(evidence(as_map(outputs[self._maps[depth]]), weights[:, span], self._mean[span]))
        return heat_of(on_one_grid(parts))


def explainer(artefact: Artefact) -> Explainer:
    """What explains the classifier `artefact`; its network is compiled when it is first needed."""
    return Explainer(artefact)


def head_of(artefact: Artefact) -> LinearHead | LayeredHead:
    """The head of a classifier, from its tensors."""
    tensors = artefact.head
    hidden = [
        Dense(tensors[f"hidden{at}.weights"], tensors[f"hidden{at}.bias"]) for at in range((len(tensors) - 4) // 2)
    ]
    weights, bias, mean, scale = (tensors[name] for name in ("weights", "bias", "mean", "scale"))
    if not hidden:
        return LinearHead(weights, bias, mean, scale)
    return LayeredHead(tuple(hidden), Dense(weights, bias), mean, scale)


def _why(depths: tuple[str, ...], shown: dict[str, str]) -> str:
    hidden = [depth for depth in depths if depth not in shown]
    if not hidden:
        return ""
    names = " and ".join(hidden)
    because = "no mean of a feature map (but a class token, or pooled by attention)"
    if not shown:
        return f"what this classifier reads ({names}) is {because}"
    return f"heat maps show {' and '.join(shown)} only: {names} is {because}"
