"""What a source of pretrained weights is: where its tensors lie, which module they fit, how it is shown pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Layout = Literal["NCHW", "NHWC", "NLC"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Plan:
    """How a module is cut into stages, one per depth.

    `kind`: "sequence" (`groups`: dotted paths of modules that run one after the other, one group per depth), "tokens"
    (a vision transformer: `groups` of its blocks) or "whole" (cannot be cut: all of it is one stage). `layout`: of what
    goes from group to group inside the module. `pooled`: one more stage follows, made of the modules `rest` and of the
    module's own pooling and norm before its classifier.
    """

    kind: Literal["sequence", "tokens", "whole"]
    groups: tuple[tuple[str, ...], ...]
    layout: Layout = "NCHW"
    pooled: bool = False
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """What follows from the architecture alone, whatever the weights.

    `side`: pixels of the square that it is shown. `mean`, `std`: of RGB in 0..1, what it subtracts and divides by.
    `depths`: name and number of channels, the last one named "last". `classes`: outputs of the discarded head, 0 where
    it has none. `parameters`: their number, the head's included.
    """

    side: int
    mean: Triple
    std: Triple
    interpolation: Literal["bicubic", "bilinear"]
    depths: tuple[tuple[str, int], ...]
    plan: Plan
    classes: int
    parameters: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Shape:
        """The inverse of `to_json`. KeyError or TypeError for anything else."""
        plan = values["plan"]
        groups = tuple(tuple(group) for group in plan["groups"])
        return cls(
            **{
                **values,
                "mean": tuple(values["mean"]),
                "std": tuple(values["std"]),
                "depths": tuple((str(name), int(dim)) for name, dim in values["depths"]),
                "plan": Plan(**{**plan, "groups": groups, "rest": tuple(plan["rest"])}),
            }
        )


@dataclass(frozen=True)
class Facts:
    """For people who choose: what it was trained on, under which licence, how good it was there ("" unknown)."""

    dataset: str = ""
    licence: str = ""
    published: str = ""


@dataclass(frozen=True)
class Source:
    """Pretrained weights that are on this machine.

    `name`: for people and records, without a path of this machine; `spec`: as the user gave it. `family`,
    `architecture`: who makes the module and under which name (`build`). `reader`: how the file `place` becomes tensors
    (`tensors`). `sha256`: of that file. `origin`: the backbone that a run was trained from, empty elsewhere. `own`:
    its name when it is shown squares of its own side, empty where it is (`sized`).
    """

    name: str
    spec: str
    family: str
    architecture: str
    reader: str
    place: Path
    sha256: str
    shape: Shape
    facts: Facts = Facts()
    origin: str = ""
    own: str = ""

    @property
    def network(self) -> str:
        """The name without the side that it is shown."""
        return self.own or self.name

    @property
    def depth_names(self) -> tuple[str, ...]:
        """`block0`, `block1`, ..., then `last`."""
        return tuple(name for name, _ in self.shape.depths)

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of every depth."""
        return tuple(dim for _, dim in self.shape.depths)

    @property
    def side(self) -> int:
        """Pixels of the square that it is shown."""
        return self.shape.side
