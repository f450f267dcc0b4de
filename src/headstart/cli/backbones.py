"""headstart backbones: the pretrained networks that are here, and those that can be fetched."""

from __future__ import annotations

from typing import Any

import typer

from headstart.cli.console import Console, percent, print_json
from headstart.cli.fetching import size_and_host
from headstart.errors import HeadstartError, UsageError

NAME = "backbones"
_TITLES = ["", "data set", "params", "size", "side", "top-1", "licence", "images/s here"]
_TITLES_COCO = ["", "", "params", "size", "side", "published", "", "images/s here"]
_NUMBERS = (2, 3, 4)  # columns that are aligned to the right
_TIMM = "Any other name of timm's works as well. Top-1: as published for ImageNet at this side."
_VOC = (
    "COCO_WITH_VOC_LABELS (voc_labels) is COCO pictures with Pascal VOC's 20 classes: torchvision has no weights\n"
    "trained on VOC pictures. Only the convolutional body is used; what is published is about the whole network."
)
_HOW = (
    "headstart backbones --download NAME fetches one; nothing is downloaded unasked. A file of your own:\n"
    "--backbone resnet50@my.safetensors. A run of your own: --backbone runs/birds. Squares of another side than\n"
    "a network's own: --backbone efficientnet_lite0@160."
)
Rows = list[dict[str, Any]]


def command(
    names: list[str] | None = typer.Argument(None, metavar="[NAME]...", help="Only these; a part of a name is enough."),
    measure: bool = typer.Option(
        False, "--measure", help="Measure images per second here: of NAME..., or of all that is on this machine."
    ),
    download: str | None = typer.Option(None, metavar="NAME", help="Download the weights NAME first."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """List the pretrained networks: what is on this machine, what can be fetched, and what is known about each.

    Example: headstart backbones --measure efficientnet_lite0
    """
    from headstart import api

    wanted = list(names or [])
    if download is not None:
        said = _download(download)
        if not as_json and not measure and not wanted:
            typer.echo(said)
            return 0
    measured = _measure(wanted) if measure else []
    rows = [row for row in api.backbones() if not wanted or _is_meant(row["name"], wanted, measured)]
    known = {row["name"] for row in rows}
    rows += [one for one in measured if one["name"] not in known]  # a file or a run of your own
    here = [row for row in rows if row["installed"]]
    others = [row for row in rows if not row["installed"]]
    if as_json:
        print_json({"backbones": here, "fetchable": others})
    elif not rows:
        raise UsageError(f"none of the listed networks is called {' or '.join(wanted)}; any name of timm's can be used")
    else:
        typer.echo("\n".join(_text(here, others, bool(wanted))))
    return 0


def _download(name: str) -> str:
    """Fetch `name` unless it is here; a line that says where it lies."""
    from headstart import api

    found = api.backbone_to_fetch(name)
    if found is not None:
        typer.echo(f"downloading {found['name']}: {size_and_host(found)}", err=True)
    return f"{found['name'] if found else name} is on this machine: {api.download_backbone(name)}"


def _measure(names: list[str]) -> Rows:
    """Measure `names`, else everything that is here: then one that fails costs a line, not the others."""
    from headstart import api

    measured = []
    with Console() as console:
        for name in names or [row["name"] for row in api.backbones() if row["installed"]]:
            console.start(f"measure {name}")
            try:
                measured.append(api.measure_backbone(name))
            except HeadstartError as error:
                if names:
                    raise
                console.say(f"{name} is left out: {error}")
    return measured


def _is_meant(name: str, wanted: list[str], measured: Rows) -> bool:
    if measured:
        return name in {one["name"] for one in measured}
    return any(part.removeprefix("timm/") in name for part in wanted)


def _text(here: Rows, others: Rows, few: bool) -> list[str]:
    lines = []
    if here or not few:
        lines += ["ON THIS MACHINE", *(_section(here) or ["  nothing yet"])]
    if others:
        lines += [*([""] if lines else []), "TO BE FETCHED", *_section(others)]
    notes = [
        _TIMM if any(row["family"] == "timm" for row in others) else "",
        *(f"{row['name']} runs in torch: it cannot be exported ({why})." for row in here if (why := _why(row))),
        _VOC if any("voc_labels" in row["name"] for row in here + others) else "",
        "" if few else _HOW,
    ]
    return [*lines, *(line for note in notes if note for line in ("", note))]


def _section(rows: Rows) -> list[str]:
    """One table of what is described line by line, one of torchvision's, where data set and licence are headings."""
    own = [row for row in rows if row["family"] != "torchvision"]
    coco = [row for row in rows if row["family"] == "torchvision"]
    lines = _table([_TITLES, *(_cells(row, True) for row in own)], "  ") if own else []
    if not coco:
        return lines
    table = iter(_table([_TITLES_COCO, *(_cells(row, False) for row in coco)], "    "))
    title, described = next(table), list(zip(coco, table, strict=True))
    lines += [*([""] if lines else []), f"  torchvision: {coco[0]['licence']}", title]
    for dataset in dict.fromkeys(row["dataset"] for row in coco):
        lines += [f"   {dataset}", *(line for row, line in described if row["dataset"] == dataset)]
    return lines


def _cells(row: dict[str, Any], own_words: bool) -> list[str]:
    """One line of a table; data set and licence only where they are this row's own."""
    size = row["bytes"] or row["download_bytes"]
    to_pip = row["install"] and not row["installed"]
    return [
        row["name"],
        row["dataset"] if own_words else "",
        f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else "",
        f"{size / 1e6:.0f} MB" if size else "",
        f"{row['side']} px" if row["side"] else "",
        percent(row["published_top1"]) if row["published_top1"] else row["published"],
        row["licence"] if own_words else "",
        f"pip install '{row['install']}'" if to_pip else _speed(row),
    ]


def _speed(row: dict[str, Any]) -> str:
    """`142 (2026-11-24)`; the engine where it is not the usual one, also where nothing was measured."""
    if not row["images_per_second"]:
        return "torch" if row.get("runs_in_torch") else ""
    engine = "" if row["engine"].startswith("openvino") else f"{row['engine']}, "
    return f"{row['images_per_second']:.0f} ({engine}{row['measured']})"


def _why(row: dict[str, Any]) -> str:
    return row.get("runs_in_torch") or ""


def _table(lines: list[list[str]], indent: str) -> list[str]:
    """Aligned lines, the first one of titles; a column in which nobody has anything is left out."""
    kept = [i for i in range(len(lines[0])) if any(line[i] for line in lines[1:])]
    widths = {i: max(len(line[i]) for line in lines) for i in kept}
    return [
        (indent + "  ".join(f"{line[i]:{'>' if i in _NUMBERS else '<'}{widths[i]}}" for i in kept)).rstrip()
        for line in lines
    ]
