"""What a device only emulates is not tried."""

from __future__ import annotations

import platform

import pytest
import torch

from headstart.finetune.precision import precisions

BOTH = ("bf16", "fp32")


@pytest.mark.parametrize(
    ("machine", "has", "expected"),
    [
        ("x86_64", {"avx512_f": True, "avx512_bf16": True}, BOTH),
        ("AMD64", {"avx2": True, "amx_bf16": True}, BOTH),
        ("x86_64", {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, ("fp32",)),
        ("x86_64", {}, ("fp32",)),
        ("aarch64", {}, BOTH),
    ],
)
def test_processors_with_and_without_instructions_of_their_own(monkeypatch, machine, has, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert precisions("cpu") == expected


def test_an_older_torch_cannot_say_so_both_are_measured(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precisions("cpu") == BOTH


@pytest.mark.parametrize("native", [True, False])
def test_cuda_says_it_itself(monkeypatch, native):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert precisions("cuda") == (BOTH if native else ("fp32",))
