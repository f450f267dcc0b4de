"""Any timm model as a body: where it can be cut into stages, from its own description, checked by running it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import timm
import torch
from torch import Tensor, nn

from headstart.backbone.source import Layout, Plan, Shape
from headstart.backbone.stages import classifier_of, layout_of, stages_of
from headstart.errors import MachineError

MOST_GROUPS = 8  # before the last depth: more would only repeat themselves
_TOLERANCE = 1e-4  # of the largest value: the stages one after the other against the model itself
_CONTAINERS = ("blocks", "stages", "layers")  # every child of these is a block group
_POOLS = ("SelectAdaptivePool2d", "FastAdaptiveAvgPool")
_PLAIN_HEADS = ("ClassifierHead",)


def build(architecture: str) -> Any:
    """The timm model with its own classifier; random weights. MachineError for an unknown name."""
    try:
        return timm.create_model(architecture, pretrained=False)
    except RuntimeError as error:
        raise MachineError(
            f"timm {timm.__version__} cannot make {architecture}: {str(error).splitlines()[0]}"
        ) from None


def shape_of(architecture: str) -> Shape:
    """Cut the model, run it once on noise with random weights, and write down what comes out."""
    body = build(architecture).eval()
    config = timm.data.resolve_data_config({}, model=body)
    side = int(config["input_size"][-1])
    _randomise(body)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plan = _plan(body, pixels)
        dims = []
        x = pixels
        for stage in stages_of(body, plan):
            x = stage(x)
            dims.append(int(x.shape[1]))
    head = classifier_of(body)
    known = head is not None and head.in_features == dims[-1]
    return Shape(
        side=side,
        mean=tuple(float(v) for v in config["mean"]),  # type: ignore[arg-type]
        std=tuple(float(v) for v in config["std"]),  # type: ignore[arg-type]
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        depths=tuple((*((f"block{i}", dim) for i, dim in enumerate(dims[:-1])), ("last", dims[-1]))),
        plan=plan,
        classes=head.out_features if known and head is not None else 0,
        parameters=sum(p.numel() for p in body.parameters()),
    )


def _plan(body: Any, pixels: Tensor) -> Plan:
    """The first way of cutting that gives what the model itself gives."""
    wanted = body.forward_head(body.forward_features(pixels), pre_logits=True)
    for plan in _ways(body, pixels):
        try:
            x = pixels
            for stage in stages_of(body, plan):
                x = stage(x)
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, IndexError):
            continue  # not a way for this model
        found = x.mean((2, 3))
        if found.shape == wanted.shape and (found - wanted).abs().max() <= _TOLERANCE * wanted.abs().max():
            return plan
    raise MachineError(f"{type(body).__name__} cannot be used as a backbone: it does not give one vector per picture")


def _ways(body: Any, pixels: Tensor) -> Iterator[Plan]:
    if isinstance(getattr(body, "blocks", None), nn.Sequential | nn.ModuleList) and hasattr(body, "_pos_embed"):
        blocks = [f"blocks.{i}" for i in range(len(body.blocks))]
        norm = ("norm",) if hasattr(body, "norm") else ()
        yield Plan("tokens", _even([(b,) for b in blocks]), "NLC", pooled=True, rest=norm)
    groups, rest = _groups(body)
    if groups:
        layout = _layout(body, groups[0], pixels)
        if layout == "NCHW" and _plain_mean(body):
            yield Plan("sequence", (*_even(groups), rest) if rest else _with_last(body, _even(groups)))
        yield Plan("sequence", _even(groups), layout, pooled=True, rest=rest)
    features = body.forward_features(pixels)
    if isinstance(features, Tensor) and features.ndim in (3, 4):
        yield Plan("whole", (), layout_of(body, features), pooled=True)


def _groups(body: Any) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Block groups as lists of paths, each from behind the one before, and what stands between them and the head."""
    wanted = [(str(f["module"]), float(f.get("reduction", 4))) for f in getattr(body, "feature_info", [])]
    order = list(_in_order(body, [name for name, _ in wanted]))
    listed = {name for name, reduction in wanted if reduction > 2}
    ends = [i for i, path in enumerate(order) if path in listed or path.rpartition(".")[0] in _CONTAINERS]
    if not ends:
        return [], ()
    starts = [0, *(e + 1 for e in ends)]
    groups = [tuple(order[a:b]) for a, b in pairwise(starts)]
    return groups, tuple(order[starts[-1] :])


def _in_order(body: Any, features: list[str]) -> Iterator[str]:
    """Paths of the modules in front of pooling and head, containers opened."""
    head = {"global_pool", "head", "fc", "classifier", "pre_logits", "head_drop", "flatten", "head_dist", "fc_norm"}
    for name, child in body.named_children():
        if name in head:
            return
        if type(child) is nn.Identity:
            continue
        inside = name in _CONTAINERS or any(f.startswith(f"{name}.") and f.count(".") == 1 for f in features)
        if inside and isinstance(child, nn.Sequential | nn.ModuleList) and len(child):
            yield from (f"{name}.{inner}" for inner, _ in child.named_children())
        else:
            yield name


def _even(groups: list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """At most `MOST_GROUPS`: neighbours joined, as evenly as it goes."""
    count = min(len(groups), MOST_GROUPS)
    per = -(-len(groups) // count)
    count = -(-len(groups) // per)
    edges = [round(i * len(groups) / count) for i in range(count + 1)]
    return tuple(tuple(path for group in groups[a:b] for path in group) for a, b in pairwise(edges))


def _with_last(body: Any, groups: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Without a final layer, the last block of the last group is the last stage, so that last-1 trains that group."""
    *before, group = groups
    module = body.get_submodule(group[-1])
    children = [f"{group[-1]}.{name}" for name, _ in module.named_children()] if _runs(module) else []
    if len(children) > 1:
        return (*before, (*group[:-1], *children[:-1]), (children[-1],))
    return (*before, group[:-1], group[-1:]) if len(group) > 1 else groups


def _runs(module: nn.Module) -> bool:
    return type(module) is nn.Sequential


def _layout(body: Any, group: tuple[str, ...], pixels: Tensor) -> Layout:
    x = pixels
    try:
        for path in group:
            x = body.get_submodule(path)(x)
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, IndexError):
        return "NCHW"
    return layout_of(body, x) if isinstance(x, Tensor) else "NCHW"


def _plain_mean(body: Any) -> bool:
    """Whether nothing but the mean over positions (and dropout) stands between the features and the classifier."""
    head = getattr(body, "head", None)
    pool = getattr(body, "global_pool", None)
    if head is not None and type(head).__name__ in _PLAIN_HEADS:
        pool = head.global_pool
    elif getattr(body, "conv_head", None) is not None and list(dict(body.named_children())).index("conv_head") > list(
        dict(body.named_children())
    ).index("global_pool"):
        return False  # MobileNetV3: a layer behind the pooling
    return type(pool).__name__ in _POOLS and getattr(pool, "pool_type", "avg") == "avg"


def _randomise(body: nn.Module) -> None:
    """No zeros (a residual branch that starts at nothing would hide a wrong cut), no two runs alike in their noise."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
