"""Artefact: everything a saved classifier consists of, and the rules it must meet, on writing as on reading."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import __version__
from headstart.artefact.torch_network import TorchNetwork

FORMAT = 3  # the newest that is read
TORCH_FORMAT = 3  # of classifiers whose network runs in torch
HEAD_TENSORS = ("weights", "bias", "mean", "scale")
MOST_HIDDEN = 8  # layers of a head


@dataclass(frozen=True, eq=False)
class Artefact:
    """A classifier at rest.

    `head` holds the head on the concatenated features of `depths`, before temperature: `weights` (K, d), `bias` (K,),
    `mean` and `scale` (d,), float32 or float64. With extra layers there are `hidden0.weights` (h0, d), `hidden0.bias`
    (h0,), `hidden1.weights` (h1, h0) and so on, ReLU after each, and `weights` is (K, width of the last). `model` is
    the whole network as one ONNX file: uint8 NHWC `images` in, calibrated `probabilities` (n, K) out; where no graph
    can hold the network, `model` is empty and `network` is there instead. `backbone`, `decision` and `provenance` are
    plain JSON objects: facts to show, never needed to predict. `created` is an ISO 8601 time, `headstart` the version
    that made it.
    """

    classes: tuple[str, ...]
    preprocessing: Mapping[str, Any]
    backbone: Mapping[str, Any]
    depths: tuple[str, ...]
    temperature: float
    head: Mapping[str, NDArray[np.floating]]
    model: bytes
    decision: Mapping[str, Any]
    provenance: Mapping[str, Any]
    created: str
    headstart: str = __version__
    network: TorchNetwork | None = None

    def __post_init__(self) -> None:
        """Refuse, with ValueError (short reason), what could not predict."""
        _check_names("classes", self.classes, least=2)
        _check_names("depths", self.depths, least=1)
        if not (isinstance(self.temperature, float) and math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"the temperature {self.temperature!r} is not a positive number")
        for name in ("preprocessing", "backbone", "decision", "provenance"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is not an object")
        if not isinstance(self.created, str) or not isinstance(self.headstart, str):
            raise ValueError("created or headstart is not a text")
        _check_head(self.head, len(self.classes))
        if bool(self.model) == (self.network is not None):
            raise ValueError("either a model or a network that runs in torch is needed")
        if self.network is not None and self.network.width(self.depths) != self.head["mean"].size:
            raise ValueError("the head does not fit the depths of the network")

    def parts(self) -> Iterator[bytes]:
        """What tells its answers from another's: the model, or the tensors with their names."""
        if self.network is None:
            yield self.model
            return
        for tensors in (self.head, self.network.tensors):
            for name in sorted(tensors):
                yield name.encode()
                yield np.ascontiguousarray(tensors[name]).tobytes()


def _check_names(what: str, names: object, least: int) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{what} is not a list of names")
    if len(names) < least:
        raise ValueError(f"{what} has fewer than {least} names")
    if len(set(names)) != len(names):
        raise ValueError(f"{what} has a name twice")


def format_of(head: Collection[str], network: TorchNetwork | None = None) -> int:
    """The format of a classifier: 1 with a linear head, which every version reads; 2 with extra layers; 3 in torch."""
    if network is not None:
        return TORCH_FORMAT
    return 1 if set(head) == set(HEAD_TENSORS) else 2


def hidden_layers(names: Collection[str]) -> int:
    """How many extra layers a head of these tensors has; ValueError (short reason) unless they make up a head."""
    count = (len(names) - len(HEAD_TENSORS)) // 2
    hidden = [f"hidden{at}.{part}" for at in range(count) for part in ("weights", "bias")]
    if set(names) != {*HEAD_TENSORS, *hidden}:
        raise ValueError(
            f"it should hold the tensors {', '.join(HEAD_TENSORS)}, those of hidden layers numbered from 0, "
            "and nothing else"
        )
    if count > MOST_HIDDEN:
        raise ValueError(f"it holds {count} hidden layers, more than {MOST_HIDDEN}")
    return count


def _check_head(head: Mapping[str, NDArray[np.floating]], k: int) -> None:
    try:
        hidden = hidden_layers(head)
    except ValueError as error:
        raise ValueError(f"the head is not one: {error}") from None
    if any(tensor.dtype not in (np.float32, np.float64) for tensor in head.values()):
        raise ValueError("a tensor of the head is neither float32 nor float64")
    for name, shape in _shapes(head, hidden, k).items():
        if head[name].shape != shape or 0 in shape:
            raise ValueError(f"the head's {name} has shape {head[name].shape}, not {shape}")
        if not np.isfinite(head[name]).all():
            raise ValueError(f"the head's {name} holds NaN or infinity")
    if not (head["scale"] > 0).all():
        raise ValueError("the head's scale is not positive")


def _shapes(head: Mapping[str, NDArray[np.floating]], hidden: int, k: int) -> dict[str, tuple[int, ...]]:
    """The shape that every tensor must have: a layer takes as many numbers as the one before it has biases."""
    width = head["mean"].size
    shapes: dict[str, tuple[int, ...]] = {"mean": (width,), "scale": (width,)}
    for at in range(hidden):
        size = head[f"hidden{at}.bias"].size
        shapes |= {f"hidden{at}.weights": (size, width), f"hidden{at}.bias": (size,)}
        width = size
    return {**shapes, "weights": (k, width), "bias": (k,)}
