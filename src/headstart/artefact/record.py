"""Artefact: everything a saved classifier consists of, and the rules it must meet, on writing as on reading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import __version__

FORMAT = 1
HEAD_TENSORS = ("weights", "bias", "mean", "scale")


@dataclass(frozen=True, eq=False)
class Artefact:
    """A classifier at rest.

    `head` holds the linear head on the concatenated features of `depths`, before temperature: `weights` (K, d),
    `bias` (K,), `mean` and `scale` (d,), float32 or float64. `model` is the whole network as one ONNX file: uint8 NHWC
    `images` in, calibrated `probabilities` (n, K) out. `backbone`, `decision` and `provenance` are plain JSON objects:
    facts to show, never needed to predict. `created` is an ISO 8601 time, `headstart` the version that made it.
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


def _check_names(what: str, names: object, least: int) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{what} is not a list of names")
    if len(names) < least:
        raise ValueError(f"{what} has fewer than {least} names")
    if len(set(names)) != len(names):
        raise ValueError(f"{what} has a name twice")


def _check_head(head: Mapping[str, NDArray[np.floating]], k: int) -> None:
    if set(head) != set(HEAD_TENSORS):
        raise ValueError(f"the head's tensors are {sorted(head)}, not {sorted(HEAD_TENSORS)}")
    if any(tensor.dtype not in (np.float32, np.float64) for tensor in head.values()):
        raise ValueError("a tensor of the head is neither float32 nor float64")
    d = head["mean"].size
    shapes = {"weights": (k, d), "bias": (k,), "mean": (d,), "scale": (d,)}
    for name, shape in shapes.items():
        if head[name].shape != shape or d == 0:
            raise ValueError(f"the head's {name} has shape {head[name].shape}, not {shape}")
        if not np.isfinite(head[name]).all():
            raise ValueError(f"the head's {name} holds NaN or infinity")
    if not (head["scale"] > 0).all():
        raise ValueError("the head's scale is not positive")
