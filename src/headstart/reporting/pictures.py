"""The pictures worth a look: most confident mistakes, least certain, suspects, and those behind a confusion."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.reporting.charts.heat import overlay
from headstart.reporting.files import RunFiles
from headstart.reporting.words import JSON, chance

SIDE, SMALL = 128, 64  # pixels of the longer side: of a picture, of a neighbour
AT_ONCE = 8  # cards of a list that are not folded
LISTED = 24  # rows of a list where there are no thumbnails
LISTS = {
    "mistakes": (
        "Most confident mistakes",
        "Wrong, and sure of it. Look for wrong labels, pictures that show both classes, and what the classes have in "
        "common.",
    ),
    "unsure": (
        "Least certain",
        "Right or wrong, the classifier hesitates most here. More pictures like these would teach it most.",
    ),
    "suspects": (
        "Suspected label errors",
        "Judged by heads that never saw them, these look like another class. Check each label; some are merely hard.",
    ),
}


@dataclass(frozen=True)
class Thumb:
    """A picture to show: data URI and pixels; `source` "" when the run kept no copy of it."""

    source: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class Neighbour:
    """A training picture that is alike; `similarity` in words."""

    thumb: Thumb
    label: str
    similarity: str


@dataclass(frozen=True)
class Card:
    """One picture with what is known of it. `place`: CSS position of the heat map, "" when it covers everything."""

    name: str
    label: str
    predicted: str
    probability: str
    of_label: str
    wrong: bool
    thumb: Thumb
    heat: str
    place: str
    nearest: tuple[Neighbour, ...]


@dataclass(frozen=True)
class Group:
    """A list of cards under one heading; `folded` ones come after a click."""

    key: str
    title: str
    said: str
    shown: tuple[Card, ...]
    folded: tuple[Card, ...]


@dataclass(frozen=True)
class Behind:
    """The pictures behind one cell of the confusion matrix."""

    key: str
    label: str
    predicted: str
    n: int
    thumbs: tuple[tuple[Thumb, str], ...]


@dataclass(frozen=True)
class Shown:
    """All of section 4 that needs pictures; `rows`: name, label, predicted, probability, where there are none."""

    groups: tuple[Group, ...] = ()
    behind: tuple[Behind, ...] = ()
    rows: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = ()
    no_heat: str = ""

    @property
    def keys(self) -> dict[tuple[str, str], str]:
        """Where on the page the pictures of a confusion are."""
        return {(b.label, b.predicted): b.key for b in self.behind}


def common_folder(names: Iterable[str]) -> str:
    """The folder that all of `names` begin with, when they are absolute paths; it need not be repeated."""
    some = list(names)
    if not some or not all(name.startswith("/") for name in some):
        return ""
    try:
        return os.path.commonpath([os.path.dirname(name) for name in some]).rstrip("/") + "/"  # noqa: PTH120
    except ValueError:
        return ""


def shown_pictures(files: RunFiles) -> Shown:
    """From RUN/explain; from predictions.csv, without pictures, where there is no such folder."""
    pictures = files.explain.get("pictures") or []
    root = common_folder(files.predicted.ids)
    if not pictures:
        return Shown(rows=_rows(files, root))
    cards = _Cards(files, root)
    lists = files.explain.get("lists") or {}
    groups = []
    for key, (title, said) in LISTS.items():
        found = [cards.card(i) for i in lists.get(key) or () if _inside(i, pictures)]
        if found:
            groups.append(Group(key, title, said, tuple(found[:AT_ONCE]), tuple(found[AT_ONCE:])))
    behind = tuple(cards.behind(k, cell) for k, cell in enumerate(lists.get("cells") or (), 1))
    heat = files.explain.get("heat") or {}
    why = "" if heat.get("there", True) else f"There are no heat maps: {heat.get('why') or 'not possible here'}."
    return Shown(tuple(groups), behind, (), why)


class _Cards:
    """Cards by index; every picture is encoded once."""

    def __init__(self, files: RunFiles, root: str) -> None:
        self.files, self.root = files, root
        self.pictures: Sequence[JSON] = files.explain["pictures"]
        self.neighbours: Sequence[JSON] = files.explain.get("neighbours") or []
        self._known: dict[int, Card] = {}

    def card(self, i: int) -> Card:
        if i not in self._known:
            self._known[i] = self._card(self.pictures[i])
        return self._known[i]

    def behind(self, number: int, cell: JSON) -> Behind:
        found = [self.card(i) for i in cell.get("pictures") or () if _inside(i, self.pictures)]
        thumbs = tuple((card.thumb, card.probability) for card in found)
        return Behind(f"cell-{number}", cell["label"], cell["predicted"], cell["n"], thumbs)

    def _card(self, p: JSON) -> Card:
        name, label, predicted = str(p["id"]).removeprefix(self.root), str(p["label"]), str(p["predicted"])
        alt = f"{name}, labelled {label}, predicted {predicted}"
        heat = p.get("heat")
        thumb = self._thumb(p, alt, SIDE)
        found = [n for n in p.get("nearest") or () if _inside(n.get("picture"), self.neighbours)]
        return Card(
            name, label, predicted, chance(p.get("probability")), chance(p.get("probability_of_label")),
            label != predicted, thumb,
            overlay(heat) if isinstance(heat, dict) and thumb.source else "",
            _place(p.get("box") or self.files.explain.get("box") or (0, 0, 1, 1)),
            tuple(self._neighbour(n) for n in found),
        )  # fmt: skip

    def _neighbour(self, near: JSON) -> Neighbour:
        n = self.neighbours[near["picture"]]
        label = str(n["label"])
        alt = f"training picture {str(n['id']).removeprefix(self.root)}, labelled {label}"
        return Neighbour(self._thumb(n, alt, SMALL), label, f"{float(near.get('similarity') or 0):.2f}")

    def _thumb(self, p: JSON, alt: str, side: int) -> Thumb:
        width, height = max(1, int(p.get("width") or side)), max(1, int(p.get("height") or side))
        scale = side / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return Thumb(self.files.thumb(p.get("thumb")), *size, alt)


def _inside(i: Any, items: Sequence[Any]) -> bool:
    return isinstance(i, int) and 0 <= i < len(items)


def _place(box: Sequence[float]) -> str:
    """CSS for the part of the picture that the network saw."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, float(v))) for v in box)
    if (x0, y0, x1, y1) == (0.0, 0.0, 1.0, 1.0):
        return ""
    sides = {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0}
    return ";".join(f"{side}:{100 * share:.2f}%" for side, share in sides.items())


def _rows(files: RunFiles, root: str) -> tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...]:
    """Names only: the most confident mistakes and the least certain."""
    found = files.predicted
    if not found.ids:
        return ()
    wrong = np.flatnonzero(~found.right)
    orders = {
        "Most confident mistakes": wrong[np.argsort(-found.probability[wrong], kind="stable")][:LISTED],
        "Least certain": np.argsort(found.probability, kind="stable")[:LISTED],
    }
    return tuple(
        (
            title,
            tuple(
                (found.ids[i].removeprefix(root), found.labels[i], found.predicted[i], chance(found.probability[i]))
                for i in order
            ),
        )
        for title, order in orders.items()
        if len(order)
    )
