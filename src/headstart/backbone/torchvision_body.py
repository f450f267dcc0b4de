"""The convolutional bodies inside torchvision's detection and segmentation models; pyramids and heads are discarded."""

from __future__ import annotations

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large, resnet, vgg

from headstart.backbone.source import Plan, Shape
from headstart.backbone.stages import stages_of
from headstart.backbone.torchvision_entries import ARCHITECTURES, Body, Entry
from headstart.errors import UsageError

__all__ = ["ARCHITECTURES", "build", "own_tensors", "shape_of"]

_COUNTER = "num_batches_tracked"  # BatchNorm's own; frozen ones have none


def build(architecture: str) -> nn.Module:
    """The body of `architecture`: `(n, 3, h, w)` floats to `(n, c, h', w')`, random weights, BatchNorm not frozen.

    UsageError for an unknown name.
    """
    body = _entry(architecture).body
    return _NETWORKS[body.network](body)


def shape_of(architecture: str) -> Shape:
    """What follows from the architecture, by a run on the meta device. UsageError for an unknown name."""
    entry = _entry(architecture)
    plan = Plan("sequence", entry.body.groups)
    dims = []
    with torch.device("meta"), torch.no_grad():
        body = build(architecture).eval()
        x = torch.empty(1, 3, entry.side, entry.side)
        for stage in stages_of(body, plan):
            x = stage(x)
            dims.append(int(x.shape[1]))
    return Shape(
        side=entry.side,
        mean=entry.mean,
        std=entry.std,
        interpolation="bilinear",
        depths=(*((f"block{i}", dim) for i, dim in enumerate(dims[:-1])), ("last", dims[-1])),
        plan=plan,
        classes=0,
        parameters=sum(p.numel() for p in body.parameters()),
    )


def own_tensors(tensors: Mapping[str, Tensor], architecture: str) -> tuple[dict[str, Tensor], list[str]]:
    """From the state dict of a whole detector or segmenter to that of `build(architecture)`, and what was discarded.

    Second: the shortest prefixes that cover every discarded tensor and none of the body's, in the order of `tensors`.
    UsageError when a tensor of the body is missing or has another shape, or when the body has one too many.
    """
    body = _entry(architecture).body
    with torch.device("meta"):
        wanted = {body.prefix + name: tensor for name, tensor in build(architecture).state_dict().items()}
    own: dict[str, Tensor] = {}
    missing, bent = [], []
    for name, like in wanted.items():
        tensor = tensors.get(name)
        if tensor is None and name.endswith(_COUNTER):
            tensor = torch.zeros(like.shape, dtype=like.dtype)
        if tensor is None:
            missing.append(name)
        elif tensor.shape != like.shape:
            bent.append(f"{name} is {tuple(tensor.shape)}, not {tuple(like.shape)}")
        else:
            own[name.removeprefix(body.prefix)] = tensor
    others = [name for name in tensors if name not in wanted]
    added = [name for name in others if name.startswith(body.prefix) and not name.startswith(body.beside)]
    wrong = {"missing": missing, "of another shape": bent, "not known to it": added}
    if any(wrong.values()):
        what = "; ".join(f"{len(names)} {how} ({_first(names)})" for how, names in wrong.items() if names)
        raise UsageError(
            f"these tensors are not a torchvision {architecture}: of its body, {what}; give the state dict of the "
            "whole model, or name the architecture that the file was made with"
        )
    return own, _prefixes(others, wanted)


def _entry(architecture: str) -> Entry:
    if (entry := ARCHITECTURES.get(architecture)) is None:
        close = difflib.get_close_matches(architecture, ARCHITECTURES, 1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(ARCHITECTURES)}"
        raise UsageError(f"unknown torchvision detector or segmenter {architecture!r}; {hint}")
    return entry


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _prefixes(names: Iterable[str], kept: Iterable[str]) -> list[str]:
    """For every name its shortest dotted prefix that no kept name has; each once."""
    above = {prefix for name in kept for prefix in _chain(name)}
    found = (next((prefix for prefix in _chain(name) if prefix not in above), name) for name in names)
    return list(dict.fromkeys(found))


def _chain(name: str) -> list[str]:
    """Prefixes of `a.b.c`: `a`, `a.b`, `a.b.c`."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _norm(body: Body) -> partial[nn.BatchNorm2d]:
    return partial(nn.BatchNorm2d, eps=body.eps)


def _resnet(body: Body) -> nn.Module:
    make = {"resnet50": resnet.resnet50, "resnet101": resnet.resnet101}[body.network]
    dilation = [False, body.dilated, body.dilated]
    whole = make(weights=None, norm_layer=_norm(body), replace_stride_with_dilation=dilation)
    *kept, _, _ = whole.named_children()  # without avgpool and fc
    return nn.Sequential(OrderedDict(kept))


def _mobilenet(body: Body) -> nn.Module:
    return mobilenet_v3_large(weights=None, norm_layer=_norm(body), dilated=body.dilated).features


def _split_mobilenet(body: Body) -> nn.Module:
    """As in SSDLite: a tail of half the width, and block 13 split behind its widening layer."""
    features = mobilenet_v3_large(weights=None, norm_layer=_norm(body), reduced_tail=True).features
    split = features[13].block
    early = nn.Sequential(*features[:13], split[0])
    late = nn.Sequential(split[1:], *features[14:])
    return nn.Sequential(OrderedDict(features=nn.Sequential(early, late)))


def _vgg(body: Body) -> nn.Module:
    """As in SSD300: VGG-16 without its last pooling, then fc6 and fc7 as convolutions."""
    layers = vgg.make_layers(vgg.cfgs["D"])
    layers[16].ceil_mode = True  # 75 pixels become 38
    fc = nn.Sequential(
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
        nn.ReLU(inplace=True),
        nn.Conv2d(1024, 1024, 1),
        nn.ReLU(inplace=True),
    )
    late = nn.Sequential(*layers[23:30], fc)
    return nn.Sequential(OrderedDict(features=layers[:23], extra=nn.Sequential(late)))


_NETWORKS = {
    "resnet50": _resnet,
    "resnet101": _resnet,
    "mobilenet_v3_large": _mobilenet,
    "mobilenet_v3_large_split": _split_mobilenet,
    "vgg16_reduced": _vgg,
}
