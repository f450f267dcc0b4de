"""A module cut into stages by its plan: each from the feature map of the one before to its own, always `(n, c, h, w)`.

A transformer's tokens `(n, tokens, channels)` travel as a map `(n, channels, 1, tokens)`: so the mean over positions is
the vector of a depth, whatever the network, and every cut can be cached, trained and exported the same way.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from headstart.backbone.source import Layout, Plan


def stages_of(body: Any, plan: Plan) -> list[nn.Module]:
    """One module per depth. They share the parameters of `body`; the first takes scaled pixels `(n, 3, h, w)`."""
    if plan.kind == "tokens":
        stages = _token_stages(body, plan)
    elif plan.kind == "whole":
        stages = [_Whole(body)]
    else:
        stages = [
            _piece([body.get_submodule(path) for path in group], plan.layout, bool(i))
            for i, group in enumerate(plan.groups)
        ]
    if plan.pooled:
        stages.append(_Pooled(body, plan))
    return stages


def to_map(x: Tensor, layout: Layout) -> Tensor:
    """From what the module works with to `(n, c, h, w)`."""
    if layout == "NLC":
        return x.transpose(1, 2).unsqueeze(2)
    return x.permute(0, 3, 1, 2) if layout == "NHWC" else x


def from_map(x: Tensor, layout: Layout) -> Tensor:
    """The inverse of `to_map`."""
    if layout == "NLC":
        return x.flatten(2).transpose(1, 2)
    return x.permute(0, 2, 3, 1) if layout == "NHWC" else x


def _piece(modules: list[nn.Module], layout: Layout, later: bool) -> nn.Module:
    if layout != "NCHW":
        return _Piece(modules, layout, later)
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class _Piece(nn.Module):  # type: ignore[misc]
    """Modules of another layout; `later`: their input comes from another piece, not from the pixels."""

    def __init__(self, modules: list[nn.Module], layout: Layout, later: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.layout, self.later = layout, later

    def forward(self, x: Tensor) -> Tensor:
        x = from_map(x, self.layout) if self.later else x
        for part in self.parts:
            x = part(x)
        return to_map(x, self.layout)


class _Whole(nn.Module):  # type: ignore[misc]
    """All of the body in front of pooling and classifier."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.__dict__["body"] = body  # not as a child: its other parameters are not this stage's
        _own(self, body, excluding=_classifier_parameters(body))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body.forward_features(x)
        return to_map(x, layout_of(self.body, x))


class _Pooled(nn.Module):  # type: ignore[misc]
    """What stands before the classifier, as a map of one position `(n, c, 1, 1)`."""

    def __init__(self, body: Any, plan: Plan) -> None:
        super().__init__()
        self.__dict__["body"] = body
        self.plan = plan
        others = _classifier_parameters(body)
        if plan.kind == "whole":
            others |= {id(p) for p in body.parameters()}
        elif plan.kind == "tokens":
            others |= {id(p) for stage in _token_stages(body, plan) for p in stage.parameters()}
        else:
            paths = [path for group in plan.groups for path in group]
            others |= {id(p) for path in paths for p in body.get_submodule(path).parameters()}
        _own(self, body, others)

    def forward(self, x: Tensor) -> Tensor:
        x = from_map(x, self.plan.layout)
        for path in self.plan.rest:
            x = self.body.get_submodule(path)(x)
        pooled: Tensor = self.body.forward_head(x, pre_logits=True)
        return pooled[:, :, None, None]


class _Tokens(nn.Module):  # type: ignore[misc]
    """Blocks of a vision transformer; the first such stage also cuts the picture into patches."""

    def __init__(self, body: Any, blocks: list[nn.Module], first: bool) -> None:
        super().__init__()
        self.__dict__["body"] = body
        self.blocks = nn.ModuleList(blocks)
        self.first = first
        if first:
            within = {id(p) for p in body.blocks.parameters()} | _classifier_parameters(body)
            behind = [getattr(body, name, None) for name in ("norm", "fc_norm", "attn_pool")]
            within |= {id(p) for module in behind if module is not None for p in module.parameters()}
            _own(self, body, within)

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = self.body._pos_embed(self.body.patch_embed(x))
            x = x[0] if isinstance(x, tuple) else x
            x = self.body.norm_pre(x)
        else:
            x = from_map(x, "NLC")
        options = {} if (turn := self._rotation()) is None else {"rope": turn}
        for block in self.blocks:
            x = block(x, **options)
        return to_map(x, "NLC")

    def _rotation(self) -> Tensor | None:
        """Rotary position embedding of the fixed grid, for networks that give it to every block."""
        rope = getattr(self.body, "rope", None)
        if rope is None:
            return None
        grid = self.body.patch_embed.grid_size
        found: Tensor = rope.get_embed() if hasattr(rope, "feat_shape") and rope.feat_shape else rope.get_embed(grid)
        return found


def layout_of(body: Any, x: Tensor) -> Layout:
    """The layout of the features `x` of a timm model."""
    if x.ndim == 3:
        return "NLC"
    return "NHWC" if getattr(body, "output_fmt", "NCHW") == "NHWC" else "NCHW"


def classifier_of(body: Any) -> nn.Linear | None:
    """The discarded head where it is one linear layer on the pooled features, else None."""
    getter = getattr(body, "get_classifier", None)
    head = getter() if getter is not None else None
    return head if isinstance(head, nn.Linear) else None


def _classifier_parameters(body: Any) -> set[int]:
    getter = getattr(body, "get_classifier", None)
    heads = getter() if getter is not None else ()
    heads = heads if isinstance(heads, tuple) else (heads,)
    return {id(p) for head in heads if isinstance(head, nn.Module) for p in head.parameters()}


def _token_stages(body: Any, plan: Plan) -> list[nn.Module]:
    return [_Tokens(body, [body.get_submodule(path) for path in group], not i) for i, group in enumerate(plan.groups)]


def _own(stage: nn.Module, body: Any, excluding: set[int]) -> None:
    """Register the parameters of `body` that are not excluded as this stage's; they stay the body's own objects."""
    known = {id(p) for p in stage.parameters()}
    for name, parameter in body.named_parameters():
        if id(parameter) not in excluding and id(parameter) not in known:
            stage.register_parameter(name.replace(".", "__"), parameter)
