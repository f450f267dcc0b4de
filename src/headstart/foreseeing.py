"""Foreseeing: what a set that is not here yet would take, by what one worker of this machine does in ten seconds."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from headstart import rules
from headstart.backbone.backbone import open_backbone
from headstart.cache_folder import cache_folder
from headstart.engine.memory import machine_memory
from headstart.errors import DataError, UsageError
from headstart.howmuch.stream_probe import SUMS_BYTES, affordable_depths
from headstart.progress import Progress
from headstart.scaled import BESIDE
from headstart.scaling.measure import Measured, measure_worker
from headstart.scaling.sources import listed
from headstart.scaling.spec import Settings
from headstart.scaling.vectors import BUFFER

SECONDS = 10.0
SAMPLE = 128  # pictures of DATA, from all over its first LOOKED
LOOKED = 100_000
FACTS = 140  # bytes that every picture takes in memory at most: label, fold, hashes, groups, and sorting them
PASSES = (5, 24)  # over the vectors, when heads are trained from part files: without and with every pass of logistic
BLOCK = 1024  # rows by which the speed of sums is measured


def foresee(data: Path, images: float, workers: int, backbone: str, progress: Progress) -> dict[str, Any]:
    """Hours, bytes and parts for `images` pictures like those of `data` on `workers` workers like one of this machine.

    Keys: images, workers, measured, embed, heads (where, memory, hours), lines. Raises UsageError, DataError.
    """
    n = _whole(images)
    if workers < 1:
        raise UsageError(f"--workers {workers}: give at least 1")
    network = open_backbone(rules.backbone(backbone).value, cache_folder())
    progress.start("list")
    found = listed(data)
    step = max(1, min(found.about, LOOKED) // SAMPLE)
    rows = list(islice(found.rows(), 0, step * SAMPLE, step))
    if not rows:
        raise DataError(f"{data}: no pictures to measure with")
    progress.start("measure")
    settings = Settings()
    measured = measure_worker(rows, network, SECONDS, settings)
    per_chunk = settings.chunk_rows(n)
    embed = {
        "hours": n / (workers * measured.images_per_second) / 3600,
        "bytes": round(n * measured.row_bytes),
        "parts": math.ceil(n / per_chunk),
        "rows_per_part": per_chunk,
        "workers_at_most": math.ceil(n / per_chunk),
    }
    heads = _heads(n, [depth.dim for depth in network.depths])
    told = {"images": n, "workers": workers, "backbone": network.name}
    lines = _lines(n, workers, measured, embed, heads)
    return {**told, "measured": asdict(measured), "embed": embed, "heads": heads, "lines": lines}


def _whole(images: float) -> int:
    if not 1 <= images <= 1e12 or images != int(images):
        raise UsageError(f"--images {images:g}: give a whole number such as 5000, 1e6 or 1e8")
    return int(images)


def _heads(n: int, dims: list[int]) -> dict[str, Any]:
    """Where heads would be trained on a machine like this, what memory and how long that takes."""
    memory, folds = machine_memory(), rules.hashed_folds().value
    row = 2 * sum(dims) + BESIDE
    if rules.vectors_fit(n, row, memory).value:
        return {"where": "memory", "memory_bytes": 3 * n * row, "machine_bytes": memory}
    used = affordable_depths(dims, folds, min(SUMS_BYTES, memory // 4))
    d = sum(dims[i] for i in used)
    took = _seconds_of_sums(d)
    return {
        "where": "part files",
        "memory_bytes": 8 * (folds + 3) * d * d + 2 * BUFFER + FACTS * n,
        "machine_bytes": memory,
        "columns": d,
        "hours_of_sums": n * took / 3600,
        "passes": list(PASSES),
        "bytes_per_pass": 2 * n * d,
    }


def _seconds_of_sums(d: int) -> float:
    """Seconds per row of the one pass that counts: float64 products of `d` columns."""
    X = np.random.default_rng(0).normal(size=(BLOCK, d))
    out = np.empty((d, d))
    np.matmul(X.T, X, out=out)
    began = time.perf_counter()
    np.matmul(X.T, X, out=out)
    return (time.perf_counter() - began) / BLOCK


def _lines(n: int, workers: int, measured: Measured, embed: dict[str, Any], heads: dict[str, Any]) -> list[str]:
    """The forecast in words."""
    one = "one worker" if workers == 1 else f"{workers} workers like it"
    lines = [
        f"One worker of this machine (one core, or one accelerator) embeds {measured.images_per_second:.3g} pictures a "
        f"second and starts in {measured.start_seconds:.1f} s; a picture takes {measured.row_bytes:.0f} bytes.",
        f"Embed {n:,} pictures with {one}: {_hours(embed['hours'])}, {_bytes(embed['bytes'])} in {embed['parts']:,} "
        f"parts of {embed['rows_per_part']:,}.",
    ]
    if workers > embed["workers_at_most"]:
        lines.append(
            f"There is work for {embed['workers_at_most']} workers at most: headstart embed --rows makes smaller parts."
        )
    if measured.bad:
        lines.append(f"{measured.bad} of the pictures that were measured cannot be used.")
    needed, there = _bytes(heads["memory_bytes"]), _bytes(heads["machine_bytes"])
    if heads["where"] == "memory":
        return [*lines, f"Fit then goes on in memory: {needed} of the {there} of this machine; a race runs as usual."]
    least, most = heads["passes"]
    short = "" if heads["memory_bytes"] <= heads["machine_bytes"] else " (more than this machine has)"
    passes, sums = _bytes(heads["bytes_per_pass"]), _hours(heads["hours_of_sums"])
    return [
        *lines,
        f"Heads are then trained from part files, nothing is raced: {needed} of memory{short}, {least} to {most} "
        f"passes over {passes} of vectors; the sums of the first take {sums} on this machine.",
    ]


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, 60 * hours):.0f} minutes"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e6:.0f} MB"
