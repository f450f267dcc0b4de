"""What one worker does on this machine: pictures a second, and bytes a picture takes in a part file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.backbone.backbone import Backbone
from headstart.errors import DataError
from headstart.images.printable import printable
from headstart.scaling.embedder import EngineEmbedder
from headstart.scaling.manifest import Row, write_manifest
from headstart.scaling.part import part_path, write_part
from headstart.scaling.spec import Settings, make_spec

FEW = 32  # pictures between two looks at the clock
WARM = 8  # pictures before the measurement


@dataclass(frozen=True)
class Measured:
    """One worker alone: pictures a second once its engine runs, seconds until then, bytes of a row, what it rests on.

    `bad`: pictures among them that cannot be used; they count as done.
    """

    images_per_second: float
    start_seconds: float
    row_bytes: float
    pictures: int
    bad: int


def measure_worker(rows: Sequence[Row], backbone: Backbone, seconds: float, settings: Settings) -> Measured:
    """Embed the pictures of `rows` once, and again until `seconds` are over, with a worker's own engine and part file.

    DataError when none of them can be used.
    """
    with tempfile.TemporaryDirectory(prefix="headstart-plan-") as scratch:
        manifest = write_manifest(Path(scratch), rows, len(rows))
        spec = make_spec(backbone, settings, len(rows), manifest)
        embedder, uris, began = EngineEmbedder(spec, backbone), [row[0] for row in rows], time.perf_counter()
        embedder.prepare()
        start = time.perf_counter() - began
        embedder(uris[:WARM])
        began = time.perf_counter()
        columns, errors = embedder(uris)
        if all(error is not None for error in errors):
            raise DataError(f"none of {len(rows)} pictures can be used ({printable(rows[0][0])}: {errors[0]})")
        done, at = len(uris), 0
        while (spent := time.perf_counter() - began) < seconds:
            some = uris[at : at + FEW]
            embedder(some)
            done, at = done + len(some), (at + FEW) % len(uris)
        chunk = manifest.chunks()[0]
        file = part_path(Path(scratch), chunk.id)
        file.parent.mkdir()
        write_part(file, chunk, manifest.rows(0, chunk.count), columns, errors, spec)
        manifest.close()
        bad = sum(error is not None for error in errors)
        return Measured(done / spent, start, file.stat().st_size / len(rows), done, bad)
