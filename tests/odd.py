"""What tests of networks that cannot be exported share: the networks themselves, here and in every child process."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "odd_networks"


def known_here_and_in_children(patch: pytest.MonkeyPatch) -> None:
    """timm knows test_settles and test_spreads from now on; in processes that start later, too."""
    patch.syspath_prepend(FOLDER)
    importlib.import_module("odd_networks")
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")])))


def weights_of(architecture: str, folder: Path) -> Path:
    """A safetensors file of random weights."""
    torch.manual_seed(0)
    tensors = timm.create_model(architecture, pretrained=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{architecture}.safetensors")
    return folder / f"{architecture}.safetensors"
