"""The quadrant picture: how many pictures against how near they are to what the network has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from headstart.reporting.charts import svg
from headstart.reporting.charts.svg import Chart, Scale, Table
from headstart.reporting.words import JSON

SETS = Path(__file__).parent.parent / "reference_sets.json"  # written by benchmarks/reference_points.py
STEPS = (5.0, 20.0, 100.0)  # pictures per class: tiny, small, medium, large (rules.size_place)
SIZES = ("tiny", "small", "medium", "large")
PLACES = ("near", "middle", "far")
EDGES = {"near": (0.0, 0.5), "middle": (0.5, 1.5), "far": (1.5, 2.0)}
AWAY = {"near": "near to", "middle": "neither near to nor far from", "far": "far from"}
FEW, HALF = 20.0, 1.0  # where the four regions meet
Area = tuple[float, float, float, float]  # x from, y from, x to, y to
Frame = tuple[float, float, float, float]  # left, right, top, bottom of the plot
REGIONS = {
    ("few", "far"): ("few and far", "the last", "three stages"),
    ("many", "far"): ("many and far", "train deep,", "up to everything"),
    ("few", "near"): ("few and near", "a new head,", "hardly more"),
    ("many", "near"): ("many and near", "fine-tune through,", "with small steps"),
}


@dataclass(frozen=True)
class Point:
    """A set of pictures: per class the median, fewest and most; `near` 0..2 with its ends, None: not measured."""

    name: str
    size: float
    fewest: float
    most: float
    near: float | None
    low: float | None
    high: float | None


def quadrant(result: JSON) -> Chart | None:
    """The user's set among the reference sets; None when a result does not say how many pictures there are."""
    if not result["data"]["per_class"]:
        return None
    mine = _mine(result)
    others, measured_with = _others(str(result["decision"]["backbone"]))
    said = f"{_said(mine, result)} Grey: sets of headstart's own benchmarks, measured with {measured_with}."
    head = ("set", "pictures per class", "smallest and largest class", "distance, 0 near to 2 far")
    rows = tuple(_row(p) for p in (mine, *others))

    def draw(width: float) -> tuple[float, list[str]]:
        return _draw(width, mine, others)

    return svg.chart("quadrant", "Size and similarity of your pictures", said, Table(head, rows), draw)


def region(size: float, near: float) -> tuple[str, str, str]:
    """The region of a point: its name and, on two lines, what it suggests to start with."""
    return REGIONS["few" if size <= FEW else "many", "near" if near < HALF else "far"]


def _mine(result: JSON) -> Point:
    counts = [c for c in result["data"]["per_class"] if c > 0] or [1]
    size = max(1.0, float(result["size"]["images_per_class"]))
    near, low, high = _distance(result["similarity"])
    return Point("your pictures", size, float(min(counts)), float(max(counts)), near, low, high)


def _distance(similarity: JSON) -> tuple[float | None, float | None, float | None]:
    """Position and its ends: the two measures apart; of an older result the place alone is known."""
    near = similarity.get("position")
    if near is not None:
        ends = [similarity.get(f"position_{kind}") for kind in ("shift", "confidence")]
        known = [float(e) for e in ends if e is not None] or [float(near)]
        return float(near), min(known), max(known)
    place, measured = similarity.get("place"), (similarity.get("bn_shift"), similarity.get("source_confidence"))
    if place not in EDGES or measured == (None, None):
        return None, None, None
    low, high = EDGES[place]
    return (low + high) / 2, low, high


def _others(backbone: str) -> tuple[list[Point], str]:
    """The reference sets as `backbone` sees them, or as the default backbone does where it was not measured."""
    known: Mapping[str, Sequence[Mapping[str, Any]]] = json.loads(SETS.read_text("utf-8"))["backbones"]
    name = backbone if backbone in known else next(iter(known))
    return [
        Point(s["set"], s["median"], s["fewest"], s["most"], s["position"], s["position"], s["position"])
        for s in known[name]
    ], name


def _said(mine: Point, result: JSON) -> str:
    one = "picture" if mine.size == 1 else "pictures"
    counts = f"{mine.size:g} {one} per class ({result['size']['place']}"
    counts += (
        ")" if mine.fewest == mine.most else f"; the smallest class has {mine.fewest:g}, the largest {mine.most:g})"
    )
    if mine.near is None:
        return f"You have {counts}; how near they are to the network's own pictures was not measured."
    name, one, two = region(mine.size, mine.near)
    place = next(p for p, (_, high) in EDGES.items() if mine.near <= high)
    return (
        f"You have {counts}, {AWAY[place]} what the network has seen: {name}. There one starts with: {one} {two}. "
        "The region orders what is tried first; every amount of training can still win."
    )


def _row(p: Point) -> tuple[str, ...]:
    ends = f"{p.fewest:g} to {p.most:g}"
    return p.name, f"{p.size:g}", ends, "not measured" if p.near is None else _near(p)


def _near(p: Point) -> str:
    apart = p.low is not None and p.high is not None and p.high - p.low >= 0.05
    return f"{p.near:.1f}" + (f" (measures say {p.low:.1f} and {p.high:.1f})" if apart else "")


def _draw(width: float, mine: Point, others: Sequence[Point]) -> tuple[float, list[str]]:
    narrow = width < 500
    left, top, height = (52.0 if narrow else 64.0), 12.0, (410.0 if narrow else 440.0)
    bottom = height - (68.0 if narrow else 52.0)
    most = max(3000.0, 1.3 * mine.most)
    x = Scale(1.0, most, left, width - 8, log=True)
    y = Scale(0.0, 2.0, bottom - 12, top + 12)
    frame = (left, width - 8, top, bottom)
    taken: list[Area] = []
    parts = [*_axes(x, y, frame, narrow), *_regions(frame, y, taken)]
    if mine.near is not None:
        taken.append(_around(x(mine.size), y(mine.near), 9))
        taken.append((x(mine.fewest), y(mine.near) - 3, x(mine.most), y(mine.near) + 3))
        taken.append((x(mine.size) - 4, y(mine.high or 0.0), x(mine.size) + 4, y(mine.low or 0.0)))
    for p in others:
        if p.near is not None:
            taken.append(_around(x(p.size), y(p.near), 5))
            parts.append(svg.dot(x(p.size), y(p.near), 3.5, "ref", f"{p.name}: {p.size:g} per class, {p.near:.1f}"))
    parts += _cross(mine, x, y, frame)
    named = [(mine, "me")] if mine.near is not None else []
    for p, css in [*named, *((p, "t refname") for p in others if p.near is not None)]:
        parts.append(_label(p, x(p.size), y(p.near or 0.0), css, (frame, taken)))
    return height, parts


def _axes(x: Scale, y: Scale, frame: Frame, narrow: bool) -> list[str]:
    left, right, top, bottom = frame
    parts = [svg.box(left, top, right - left, bottom - top, "plot")]
    for step in STEPS:
        parts += [svg.line(x(step), top, x(step), bottom, "meet" if step == FEW else "grid")]
        parts += [svg.text(x(step), bottom + 16, f"{step:g}", "t", "middle")]
    ends, below = (1.0, *STEPS, x.high), bottom + (33 if narrow else 16)
    for name, (a, b) in zip(SIZES, pairwise(ends), strict=True):
        parts.append(svg.text((x(a) + x(b)) / 2, below, name, "t strong", "middle"))
    parts.append(svg.text((left + right) / 2, below + 22, "pictures per class", "t", "middle"))
    for edge in (0.5, 1.5):
        parts.append(svg.line(left, y(edge), right, y(edge), "grid"))
    parts.append(svg.line(left, y(HALF), right, y(HALF), "meet"))
    for name, (low, high) in EDGES.items():
        parts.append(svg.text(left - 8, y((low + high) / 2) + 4, name, "t strong", "end"))
    return parts


def _regions(frame: Frame, y: Scale, taken: list[Area]) -> list[str]:
    """The names stand beside the line where near and far meet, at the sides: there the fewest sets are."""
    left, right, _, _ = frame
    parts = []
    for (many, far), words in REGIONS.items():
        at, side = (left + 10, "start") if many == "few" else (right - 10, "end")
        first = y(HALF) - 42 if far == "far" else y(HALF) + 22
        wide = max(svg.width_of(line) for line in words)
        taken.append((at - (wide if side == "end" else 0), first - 11, at + (0 if side == "end" else wide), first + 34))
        for k, line in enumerate(words):
            parts.append(svg.text(at, first + 15 * k, line, "t region" if k == 0 else "t suggests", side))
    return parts


def _cross(mine: Point, x: Scale, y: Scale, frame: Frame) -> list[str]:
    """The user's set with its uncertainty; without a distance only a line at its size."""
    _, _, top, bottom = frame
    here = x(mine.size)
    if mine.near is None:
        parts = [svg.line(here, top, here, bottom, "mine dashed")]
        return [*parts, svg.text(here + 6, top + 74, "your pictures", "t me quad")]
    across = svg.line(x(mine.fewest), y(mine.near), x(mine.most), y(mine.near), "mine")
    up = svg.line(here, y(mine.low or 0.0), here, y(mine.high or 0.0), "mine")
    tip = f"your pictures: {mine.size:g} per class, distance {mine.near:.1f} of 2"
    return [across, up, svg.dot(here, y(mine.near), 7, "mine point", tip)]


def _label(p: Point, x: float, y: float, css: str, around: tuple[Frame, list[Area]]) -> str:
    """The name beside its point, where nothing else is; no name, but for the user's own, where there is no room."""
    (left, right, top, bottom), taken = around
    mine = css == "me"
    wide, off = svg.width_of(p.name, 14.5 if mine else 11), 12.0 if mine else 8.0
    places = [
        (x + off, y + 4, "start"), (x - off, y + 4, "end"),
        (x + off - 2, y - 10, "start"), (x + off - 2, y + 17, "start"),
        (x - off + 2, y - 10, "end"), (x - off + 2, y + 17, "end"), (x, y - 14, "middle"), (x, y + 22, "middle"),
    ]  # fmt: skip
    best, fewest = places[0], 1e9
    for px, py, side in places:
        start = px - (wide if side == "end" else wide / 2 if side == "middle" else 0)
        area = (start, py - 11, start + wide, py + 3)
        inside = area[0] >= left + 2 and area[2] <= right - 2 and area[1] >= top and area[3] <= bottom
        hits = sum(_overlap(area, other) for other in taken) + (0.0 if inside else 1e6)
        if hits < fewest:
            best, fewest = (px, py, side), hits
    if fewest > 0 and not mine:
        return ""  # its dot tells the name, and so does the table
    px, py, side = best
    start = px - (wide if side == "end" else wide / 2 if side == "middle" else 0)
    taken.append((start, py - 11, start + wide, py + 3))
    return svg.text(px, py, p.name, "t me quad" if mine else css, side)


def _around(x: float, y: float, r: float) -> Area:
    return x - r, y - r, x + r, y + r


def _overlap(a: Area, b: Area) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
