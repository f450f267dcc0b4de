"""Which precisions a device can train in at speed, the preferred one first, and a tensor in the one that is on."""

from __future__ import annotations

import platform

import torch
from torch import Tensor

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def precisions(device: str) -> tuple[str, ...]:
    """`("bf16", "fp32")`, or `("fp32",)` where bfloat16 has no instructions of its own: what is emulated is left out.

    An x86 processor without them computes in fp32 and rounds: that is several times slower for the last stages
    (`benchmarks/training_speed.py` times both), and only trying it out costs seconds of a budget.
    """
    if device == "cuda":
        return ("bf16", "fp32") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp32",)
    ask = getattr(torch.cpu, "get_capabilities", None)  # not in the oldest torch that is allowed
    if ask is not None and device == "cpu" and platform.machine().lower() in ("x86_64", "amd64", "i386", "i686"):
        capabilities = ask()
        return ("bf16", "fp32") if any(capabilities.get(name) for name in BF16_INSTRUCTIONS) else ("fp32",)
    return ("bf16", "fp32")  # not known from here: both are measured


def as_autocast(tensor: Tensor) -> Tensor:
    """`tensor` as autocast gives it to torch's own layers: ours have to ask for it."""
    device = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else tensor
