"""Your own run as a source: the network inside a saved classifier, with its fine-tuned layers, under its old names."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.artefact import DOCUMENT, MODEL, read_classifier
from headstart.backbone.build import shape_of
from headstart.backbone.packages import PACKAGES
from headstart.backbone.sized import parted
from headstart.backbone.source import Facts, Shape, Source
from headstart.errors import UsageError

_FROM = "body."  # the network's own name inside the exported module


def folder_of(name: str) -> Path | None:
    """The classifier folder when `name` is that of a run or of a classifier, else None."""
    for folder in (Path(name, "classifier"), Path(name)):
        if (folder / DOCUMENT).is_file():
            return folder
    return None


def without_side(name: str) -> str:
    """`name` without the @SIDE behind it; a folder may end like that."""
    return name if folder_of(name) is not None else parted(name)[0]


def source_of(name: str, folder: Path, cache: Path) -> Source:
    """The network of the classifier in `folder`, as far as its head reads it.

    ClassifierError when the folder is damaged; UsageError when it does not say which architecture it holds.
    """
    found = read_classifier(folder)
    origin = str(found.backbone.get("name", ""))
    known = PACKAGES.get(parted(origin)[0])
    family = str(found.backbone.get("family") or ("timm" if known else ""))
    architecture = str(found.backbone.get("architecture") or (known.architecture if known else ""))
    if not family or not architecture:
        raise UsageError(f"{folder} does not say which network it holds: train it again with this version of headstart")
    shape = known.shape if known else shape_of(family, architecture, cache)
    shape = replace(shape, side=int(found.preprocessing["side"]))
    model = folder / MODEL
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    kept = _kept(shape, found.depths)
    dataset = f"{origin or architecture}, trained further on {found.provenance.get('pictures', 'your')} pictures"
    shown = (folder.parent if folder.name == "classifier" else folder).resolve().name
    return Source(f"run {shown}", name, family, architecture, "run", model, sha256, kept, Facts(dataset), origin)


def tensors_of(source: Source) -> dict[str, Any]:
    """The network's tensors in the classifier's graph, BatchNorm folded in as it was exported."""
    import onnx
    import torch

    model = onnx.load(source.place, load_external_data=False)
    return {
        tensor.name.removeprefix(_FROM): torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in model.graph.initializer
        if tensor.name.startswith(_FROM)
    }


def _kept(shape: Shape, depths: tuple[str, ...]) -> Shape:
    """The shape up to the deepest of `depths`: what is behind it is not in the classifier, nor is the old head."""
    names = [name for name, _ in shape.depths]
    end = max(names.index(name) for name in depths) + 1
    plan = shape.plan
    if end < len(names):
        plan = replace(plan, groups=plan.groups[:end], pooled=False, rest=())
    kept = (*shape.depths[: end - 1], ("last", shape.depths[end - 1][1]))
    return replace(shape, depths=kept, plan=plan, classes=0)
