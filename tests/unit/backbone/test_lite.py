"""Our EfficientNet-Lite is timm's: the same names, the same layers, the same numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from headstart.backbone import lite
from headstart.backbone.packages import PACKAGES

ARCHITECTURES = sorted(package.architecture for package in PACKAGES.values())
# What a layer is made of and a checkpoint does not hold
TRAITS = ("stride", "kernel_size", "groups", "eps", "momentum", "in_channels", "out_channels", "num_features")


def timm_s(architecture: str) -> nn.Module:
    import timm

    found: nn.Module = timm.create_model(architecture, pretrained=False)
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_have_the_names_shapes_and_traits_of_timm_s(architecture: str) -> None:
    with torch.device("meta"):
        ours, theirs = lite.build(architecture), timm_s(architecture)
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(theirs.state_dict())  # the packages' files have no names, only an order
    for (name, mine), (other, their) in zip(layers(ours), layers(theirs), strict=True):
        assert name == other
        for trait in TRAITS:
            assert getattr(mine, trait, None) == getattr(their, trait, None), (name, trait)
        assert type(mine).__name__.startswith("Conv2d") == type(their).__name__.startswith("Conv2d")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("side", [64, 75])  # padding depends on it
def test_it_answers_as_timm_s(architecture: str, side: int) -> None:
    torch.manual_seed(0)
    theirs = timm_s(architecture).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    ours = lite.build(architecture).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        mine, their = ours(x), theirs(x)
    assert their.std() > 0
    torch.testing.assert_close(mine, their, rtol=1e-4, atol=1e-5 * float(their.abs().max()))


def test_others_are_not_claimed() -> None:
    assert not lite.known("tf_efficientnet_lite3")
    assert not lite.known("resnet18")


def test_training_imports_neither_timm_nor_torch_s_compiler() -> None:
    """Seconds and 200 MB of every run that trains."""
    code = """
import sys
from headstart.backbone.backbone import open_backbone
from headstart.finetune.cost import Shapes, measure_training
network = open_backbone("efficientnet_lite0").torch_module()
shapes = Shapes(224, {6: (7, 7, 192)}, tuple(d.dim for d in open_backbone("efficientnet_lite0").depths), batch=2)
cost = measure_training(network, "last-1", (7,), shapes, 3)
assert cost.train > 0
print([name for name in ("timm", "torchvision", "torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def layers(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Those that hold tensors."""
    return [(name, m) for name, m in module.named_modules() if any(True for _ in m.parameters(recurse=False))]


def test_padding_is_tensorflow_s() -> None:
    """Four pixels at stride 2: one row more below and on the right, none above and on the left."""
    conv = lite.Conv2dSame(1, 1, 3, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]]]))  # looks up and left
    picture: Tensor = torch.arange(16.0).view(1, 1, 4, 4)
    assert conv(picture)[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
