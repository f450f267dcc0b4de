"""The engine of a classifier whose network no graph can hold: torch runs the network, numpy the head. Slower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.artefact import Artefact, TorchNetwork
from headstart.classifier.build import OUTPUT
from headstart.classifier.explain import head_of
from headstart.engine.engine import Outputs, Pixels, T
from headstart.engine.torch import TorchEngine
from headstart.errors import ClassifierError, MachineError
from headstart.predictions import softmax


class TorchClassifier:
    """An engine that gives `probabilities` (n, K) on the processor in fp32.

    `maps`: also the vector (n, C) of every depth that the head reads, named after it, and `map:<depth>` (n, C, H, W).
    Raises ClassifierError when the tensors do not fit, MachineError when torch or timm cannot make the network here.
    """

    name, device, precision = "torch", "cpu", "fp32"

    def __init__(self, artefact: Artefact, maps: bool = False) -> None:
        if artefact.network is None:
            raise ValueError("this classifier has a model")
        self._head, self._temperature = head_of(artefact), artefact.temperature
        self._depths, self._maps = artefact.depths, maps
        self._engine = _opened(artefact.network, artefact.depths if maps else ())
        self.side, self.batch = self._engine.side, self._engine.batch

    def run(self, batch: Pixels) -> Outputs:
        """One batch `(n, side, side, 3)` uint8, now."""
        return self._answered(self._engine.run(batch))

    def stream(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Outputs]]:
        """Many batches, results in order."""
        for tag, outputs in self._engine.stream(batches):
            yield tag, self._answered(outputs)

    def _answered(self, outputs: Outputs) -> Outputs:
        vectors: NDArray[np.float32] = np.concatenate([outputs[depth] for depth in self._depths], axis=1)
        probabilities = softmax(self._head.logits(vectors), self._temperature).astype(np.float32)
        return {OUTPUT: probabilities, **(outputs if self._maps else {})}


def _opened(network: TorchNetwork, maps: tuple[str, ...]) -> TorchEngine:
    try:
        from headstart.backbone.torch_network import WithMaps, restored

        made = restored(network)
        return TorchEngine(lambda: WithMaps(made, maps))
    except ImportError as error:
        raise MachineError(
            f"this classifier's network cannot be exported and needs torch and timm to predict ({error}): "
            "pip install torch timm torchvision"
        ) from None
    except MachineError as error:
        made_by = ", ".join(f"{name} {version}" for name, version in network.made_by.items())
        raise MachineError(f"{error}; the classifier was made with {made_by}") from None
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise ClassifierError(f"the classifier's network does not fit {network.architecture}: {said}") from None
