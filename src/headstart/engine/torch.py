"""PyTorch: CUDA and MPS machines, and the fallback on CPUs where OpenVINO does not work. Torch is imported on use."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from headstart.engine.engine import Outputs, Pixels, T
from headstart.errors import MachineError


class TorchEngine:
    """A torch module in evaluation mode on `device` ("cpu", "cuda", "mps"), channels last.

    `factory()` gives a module that maps uint8 `(n, side, side, 3)` to a tuple of `(n, d)` tensors, with the attributes
    `output_names` (their names) and `side`. fp32 is exact: TF32 stays off. Out of memory halves the batch down to one
    picture, then MachineError.
    """

    name = "torch"

    def __init__(self, factory: Callable[[], Any], device: str = "cpu", precision: str = "fp32") -> None:
        # Before torch is imported: its threads must not spin while they wait, the decode threads need the same cores.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        self._torch = torch
        self.batch = 8 if device == "cpu" else 32
        self.device = device
        self.precision = precision
        module = factory()
        self.side = int(module.side)
        self._names: tuple[str, ...] = tuple(module.output_names)
        self._module = module.eval().to(device=device, memory_format=torch.channels_last)

    def run(self, batch: Pixels) -> Outputs:
        """One batch `(n, side, side, 3)` uint8, now."""
        return self._fetch(self._forward(batch))

    def stream(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Outputs]]:
        """Many batches, results in order. One batch is in flight on a GPU while the next is being prepared."""
        flying: deque[tuple[T, Any]] = deque()
        for tag, batch in batches:
            flying.append((tag, self._forward(batch)))
            if len(flying) > 1:
                done, outputs = flying.popleft()
                yield done, self._fetch(outputs)
        for tag, outputs in flying:
            yield tag, self._fetch(outputs)

    def _forward(self, batch: Pixels) -> tuple[Any, ...]:
        torch = self._torch
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
                pixels = torch.from_numpy(np.require(batch, requirements=["C", "W"])).to(self.device, non_blocking=True)
                if self.precision == "bf16":
                    with torch.autocast(self.device, dtype=torch.bfloat16):
                        return tuple(self._module(pixels))
                return tuple(self._module(pixels))
        except torch.OutOfMemoryError:
            return self._in_halves(batch)

    def _in_halves(self, batch: Pixels) -> tuple[Any, ...]:
        if len(batch) == 1:
            raise MachineError(
                f"not enough memory on {self.device} for one picture: close other programs or use --device cpu"
            ) from None
        half = len(batch) // 2
        parts = self._forward(batch[:half]), self._forward(batch[half:])
        return tuple(self._torch.cat(pair) for pair in zip(*parts, strict=True))

    def _fetch(self, outputs: tuple[Any, ...]) -> Outputs:
        return {name: out.float().cpu().numpy() for name, out in zip(self._names, outputs, strict=True)}
