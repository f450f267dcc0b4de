"""The network of a classifier that no graph can hold: which module to make, and the tensors that it is given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREFIX = "network."  # of its tensors among those of the head
DTYPES = ("F16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL")
_FAMILIES = ("timm", "torchvision")
# A plain name: timm would fetch "hf-hub:somebody/something", and read "local-dir:/somewhere".
_ARCHITECTURE = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")


@dataclass(frozen=True, eq=False)
class TorchNetwork:
    """What torch needs to run the part of a network that a head reads.

    `family`, `architecture`: who makes the module, under which name. `shape`: how it is cut and shown pictures, plain
    values. `why`: one line, why there is no graph. `made_by`: versions of what made it. `tensors`: of the module's
    state dict.
    """

    family: str
    architecture: str
    shape: Mapping[str, Any]
    why: str
    made_by: Mapping[str, str]
    tensors: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        """Refuse, with ValueError (short reason), what could not run, or would run something else."""
        if self.family not in _FAMILIES:
            raise ValueError(f"the network's family {self.family!r} is not known")
        if not isinstance(self.architecture, str) or not _ARCHITECTURE.fullmatch(self.architecture):
            raise ValueError(f"the network's architecture {self.architecture!r} is no plain name")
        if not all(isinstance(facts, Mapping) for facts in (self.shape, self.made_by)) or not isinstance(self.why, str):
            raise ValueError("the network's shape, versions or reason is missing")
        if not self.tensors:
            raise ValueError("the network has no tensors")
        for name, tensor in self.tensors.items():
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise ValueError(f"the network's {name} holds NaN or infinity")

    def to_json(self) -> dict[str, Any]:
        """All but the tensors, as plain values."""
        return {
            "family": self.family,
            "architecture": self.architecture,
            "shape": dict(self.shape),
            "why": self.why,
            "made_by": dict(self.made_by),
        }

    @classmethod
    def from_json(cls, values: Any, tensors: Mapping[str, NDArray[Any]]) -> TorchNetwork:
        """The inverse of `to_json`; ValueError or TypeError for anything else."""
        if not isinstance(values, dict):
            raise ValueError("network is not an object")
        return cls(**values, tensors=tensors)

    def width(self, depths: Iterable[str]) -> int:
        """How many numbers `depths` give together. ValueError for a depth it does not have."""
        try:
            dims = {str(name): int(dim) for name, dim in self.shape["depths"]}
            return sum(dims[depth] for depth in depths)
        except (KeyError, TypeError, ValueError):
            raise ValueError("the network's shape does not have the depths that the head reads") from None
