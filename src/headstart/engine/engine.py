"""What every engine can do: uint8 pictures in, named float32 vectors out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Pixels = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]


class Engine(Protocol):
    """A compiled graph on a device. Input uint8 `(n, side, side, 3)`; outputs float32 `(n, d)`, the caller's own."""

    @property
    def name(self) -> str:
        """`openvino` or `torch`."""

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `mps`."""

    @property
    def precision(self) -> str:
        """`fp32` or `bf16`."""

    @property
    def side(self) -> int:
        """Side of the square pictures in pixels."""

    @property
    def batch(self) -> int:
        """Pictures per call at which it is fast without holding more memory than that takes."""

    def run(self, batch: Pixels) -> Outputs:
        """One batch, now."""

    def stream(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Outputs]]:
        """Many batches, several in flight, results in the order of the input; `T` is handed through."""


@dataclass(frozen=True)
class EngineFacts:
    """What ran: shown to the user and recorded. `images_per_second` is None when nothing was measured."""

    device: str
    name: str
    precision: str
    images_per_second: float | None
    note: str | None = None
