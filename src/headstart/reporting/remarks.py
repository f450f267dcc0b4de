"""Findings as the page shows them: issues first, items with their pictures where there are any."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.reporting.files import RunFiles
from headstart.reporting.pictures import SMALL, Thumb, common_folder
from headstart.reporting.story import by_weight

AT_ONCE, MOST = 6, 200  # items that are not folded; items on the page, the rest is in result.json


@dataclass(frozen=True)
class Item:
    """One name of a finding, with its picture where the run kept a thumbnail."""

    text: str
    thumb: Thumb | None


@dataclass(frozen=True)
class Remark:
    """One finding. `left`: items beyond those on the page."""

    code: str
    severity: str
    title: str
    detail: str
    advice: str
    items: tuple[Item, ...]
    left: int

    @property
    def folded(self) -> bool:
        """Whether the items come after a click."""
        return len(self.items) > AT_ONCE


def remarks(files: RunFiles) -> list[Remark]:
    """Of the run's findings, "issue" before "tip"."""
    root = common_folder(files.predicted.ids)
    thumbs = _thumbs(files)
    found = []
    for f in by_weight(files.result):
        names = list(f.get("items") or ())
        items = tuple(_item(str(name), thumbs, root) for name in names[:MOST])
        advice = str(f.get("advice") or "")
        found.append(
            Remark(
                str(f.get("code", "")), f["severity"], f["title"], f.get("detail") or "", advice, items,
                len(names) - len(items),
            )
        )  # fmt: skip
    return found


def _item(name: str, thumbs: dict[str, tuple[str, int, int]], root: str) -> Item:
    shown = name.replace(root, "") if root else name
    known = thumbs.get(name) or thumbs.get(name.rsplit(": ", 1)[0])
    return Item(shown, Thumb(*known, alt=f"the picture {shown}") if known else None)


def _thumbs(files: RunFiles) -> dict[str, tuple[str, int, int]]:
    """Name -> thumbnail, small, of every picture that the run kept one of."""
    wanted = {str(name).rsplit(": ", 1)[0] for f in files.result["findings"] for name in (f.get("items") or ())[:MOST]}
    wanted |= {str(name) for f in files.result["findings"] for name in (f.get("items") or ())[:MOST]}
    found = {}
    for p in (*(files.explain.get("neighbours") or ()), *(files.explain.get("pictures") or ())):
        if p.get("id") in wanted and (source := files.thumb(p.get("thumb"))):
            scale = SMALL / max(int(p.get("width") or 1), int(p.get("height") or 1))
            found[p["id"]] = (source, round(int(p["width"]) * scale) or 1, round(int(p["height"]) * scale) or 1)
    return found
