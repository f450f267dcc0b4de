"""Choose the fastest engine this machine has, by a short measurement that is also the warm-up."""

from __future__ import annotations

import ctypes.util
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headstart.engine.engine import Engine, EngineFacts
from headstart.engine.openvino import OpenVinoEngine
from headstart.engine.torch import TorchEngine
from headstart.errors import MachineError, UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
_SECONDS = 0.25
_AGREE = 1e-2  # of the largest value; a GPU that differs more than this from the CPU is broken (pytorch #154887)


def choose(
    graph: Path | None, torch_module: Callable[[], Any] | None = None, device: str = "auto"
) -> tuple[Engine, EngineFacts]:
    """The fastest engine for `graph`. `device`: "auto", "cpu", "cuda" or "mps".

    On a machine without CUDA or MPS torch is not imported while OpenVINO works. `graph` None: the network has none, and
    torch runs `torch_module`.
    Raises UsageError (unknown or absent device) and MachineError (no engine works).
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    notes: list[str] = []
    engines: list[Engine] = []
    accelerator = accelerator_present() if device == "auto" else device if device != "cpu" else None
    if torch_module is not None and accelerator:
        engines += _attempt(lambda: _on_accelerator(torch_module, accelerator), accelerator, notes)
        if not engines and device != "auto":
            raise UsageError(f"device {device} does not work here: {notes[0]}")
    if device in ("auto", "cpu"):
        if graph is not None:
            engines += _attempt(lambda: OpenVinoEngine(graph), "OpenVINO", notes)
        elif torch_module is not None:
            engines += _attempt(lambda: TorchEngine(torch_module, "cpu"), "torch", notes)
    if not engines and graph is not None and torch_module is not None:
        engines += _attempt(lambda: TorchEngine(torch_module, "cpu"), "torch", notes)
    if not engines:
        raise MachineError(f"no engine can run the network: {'; '.join(notes)}")
    return _fastest(engines, notes)


def measure(engine: Engine, seconds: float = _SECONDS) -> float:
    """Pictures per second on random pixels, after one round of warm-up."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (engine.batch, engine.side, engine.side, 3), dtype=np.uint8)
    for _ in engine.stream((i, pixels) for i in range(2)):
        pass
    start, done = time.perf_counter(), 0

    def until_late() -> Any:
        while time.perf_counter() - start < seconds:
            yield None, pixels

    for _ in engine.stream(until_late()):
        done += engine.batch
    return done / (time.perf_counter() - start)


def accelerator_present() -> str | None:
    """`cuda` or `mps` when the machine seems to have one. Does not import torch."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else None
    driver = "nvcuda" if sys.platform == "win32" else "cuda"
    return "cuda" if shutil.which("nvidia-smi") or ctypes.util.find_library(driver) else None


def usable_accelerator() -> str | None:
    """`cuda` or `mps` when torch can use it here. Imports torch only where the machine seems to have one."""
    device = accelerator_present()
    if device is None:
        return None
    import torch

    usable = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    return device if usable else None


def _on_accelerator(torch_module: Callable[[], Any], device: str) -> TorchEngine:
    import torch

    usable = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if not usable:
        raise RuntimeError(f"torch finds no usable {device} device")
    return TorchEngine(torch_module, device)


def _attempt(make: Callable[[], Engine], what: str, notes: list[str]) -> list[Engine]:
    try:
        return [make()]
    except (ImportError, OSError, RuntimeError, MachineError) as error:
        notes.append(f"{what} left out ({str(error).strip().splitlines()[0] if str(error).strip() else error!r})")
        return []


def _fastest(engines: list[Engine], notes: list[str]) -> tuple[Engine, EngineFacts]:
    if len(engines) > 1 and not _agree(*engines):
        notes.append(f"{engines[0].device} left out (its numbers differ from the CPU's)")
        engines = engines[1:]
    speeds = [measure(engine) for engine in engines]
    best = int(np.argmax(speeds))
    engine = engines[best]
    note = "; ".join(notes) or None
    return engine, EngineFacts(engine.device, engine.name, engine.precision, round(speeds[best], 1), note)


def _agree(first: Engine, second: Engine) -> bool:
    pixels = np.random.default_rng(1).integers(0, 256, (2, first.side, first.side, 3), dtype=np.uint8)
    one, two = first.run(pixels), second.run(pixels)
    return all(np.abs(one[k] - two[k]).max() <= _AGREE * np.abs(two[k]).max() for k in two)
