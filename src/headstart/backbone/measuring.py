"""Listing and measuring, with what is known about networks that run in torch."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from headstart.backbone import listing
from headstart.backbone.torch_only import graph_of, known, refuse_run, why_in_torch
from headstart.cache_folder import cache_folder, write_to_cache
from headstart.errors import MachineError

TORCH = "runs_in_torch"


def listed_with_engine(cache: Path | None = None) -> list[dict[str, Any]]:
    """Every network of the listing as plain values; `runs_in_torch`: why it cannot be exported, None where it can.

    None also where nobody tried yet. Nothing heavy is imported.
    """
    folder = cache or cache_folder()
    reasons = {listing.with_tag(name): why for name, why in known(folder).items() if "@" not in name}
    return [row.to_json() | {TORCH: reasons.get(row.name)} for row in listing.listed(folder)]


def measure(name: str, cache: Path | None = None) -> dict[str, Any]:
    """What is known about `name`, and how many pictures a second the fastest engine embeds; later listings show it.

    Prepares the graph when it is missing. UsageError for a run that cannot be a source; raises what `open_backbone` and
    `choose` raise.
    """
    from headstart.backbone.backbone import open_backbone
    from headstart.engine.choose import choose

    refuse_run(name)
    folder = cache or cache_folder()
    backbone = open_backbone(name, folder)
    source, graph = backbone.source, graph_of(backbone)
    _, facts = choose(graph, backbone.torch_module)
    if facts.images_per_second is None:
        raise MachineError(f"{name} could not be measured: {facts.note or 'no engine was timed'}")
    day = datetime.now().astimezone().date().isoformat()
    speed = listing.Speed(facts.images_per_second, f"{facts.name} {facts.device} {facts.precision}", day, source.side)
    full = source.name if source.own else listing.with_tag(source.name)
    with suppress(OSError):  # shown now, measured again when asked again
        write_to_cache(listing.speed_file(full, folder), json.dumps(vars(speed)).encode())
    row = listing.Row(
        full,
        source.reader,
        True,
        source.facts.dataset,
        source.facts.licence,
        parameters=source.shape.parameters,
        side=source.side,
        published=source.facts.published,
        bytes=source.place.stat().st_size,
        sha256=source.sha256,
        speed=speed,
    )
    return row.to_json() | {TORCH: why_in_torch(backbone) if graph is None else None}
