"""NAME@SIDE: a network shown squares of another side than its own, such as `efficientnet_lite0@160`.

A convolutional network takes any side; what it computes grows with the area (benchmarks/picture_size.py).
"""

from __future__ import annotations

from dataclasses import replace

from headstart.backbone.source import Source
from headstart.errors import UsageError

STEP = 32  # what the stages of a convolutional network halve five times
LEAST, MOST = 64, 1024


def parted(name: str) -> tuple[str, int | None]:
    """The name of the network and the side that is asked for, None for its own."""
    before, at, side = name.rpartition("@")
    return (before, int(side)) if at and before and side.isdecimal() else (name, None)


def at_side(source: Source, side: int) -> Source:
    """`source` shown squares of `side` pixels. UsageError for a side, or a network, that does not allow it."""
    if side == source.side:
        return source
    if source.shape.plan.kind != "sequence":
        raise UsageError(f"{source.name} takes pictures of {source.side} pixels only: leave @{side} away")
    if side % STEP or not LEAST <= side <= MOST:
        raise UsageError(f"{source.name}@{side}: give a side from {LEAST} to {MOST} that {STEP} divides, such as 96")
    name, spec = f"{source.name}@{side}", f"{source.spec}@{side}"
    return replace(source, name=name, spec=spec, own=source.name, shape=replace(source.shape, side=side))
