"""The spec of an embedded folder: everything its numbers depend on besides the pictures. One folder, one space."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from headstart.backbone.backbone import Backbone, Depth
from headstart.cache_folder import write_to_cache
from headstart.engine.choose import DEVICES, usable_accelerator
from headstart.errors import DataError, UsageError

NAME = "spec.json"
SCHEMA = 1
ROWS_PER_CHUNK = 4096
_FEWEST = 64  # rows of a chunk of a small set: below it the bookkeeping costs more than sharing the work gains
_PIECES = 32  # chunks a small set is cut into, so that several workers have something to do
_THREADS = {"cpu": 1, "mps": 4, "cuda": 4}  # what most cloud machines have per GPU; one could not decode for it
_BATCH = {"cpu": 2, "mps": 32, "cuda": 32}  # what the engines like (engine/openvino.py, engine/torch.py)


class OtherFolderError(UsageError):
    """The folder was begun with other pictures, or in another space."""


@dataclass(frozen=True)
class Settings:
    """What may be chosen when a folder is begun; None: by rule.

    `rows_per_chunk`: pictures that one worker takes at a time. `device`: auto, cpu, cuda, mps. `threads`: cores of one
    worker, for its engine and for decoding each. `cache`: where the backbone's graph is kept.
    """

    rows_per_chunk: int | None = None
    device: str = "auto"
    threads: int | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UsageError(f"unknown device {self.device!r}: choose one of {', '.join(DEVICES)}")
        if any(given is not None and given < 1 for given in (self.threads, self.rows_per_chunk)):
            raise UsageError("threads and rows per chunk must be at least 1")

    def chunk_rows(self, rows: int) -> int:
        """Rows per chunk for about `rows` pictures: the same on every machine."""
        if self.rows_per_chunk is not None:
            return self.rows_per_chunk
        return min(ROWS_PER_CHUNK, max(_FEWEST, math.ceil(rows / _PIECES)))


@dataclass(frozen=True)
class Spec:
    """What `spec.json` says.

    `depths`: (name, dim) pairs. `batch`: pictures per engine call, always filled up, so that a picture's numbers do not
    depend on its neighbours. `manifest_sha256`: of the rows, not of the file's bytes. `classes`: sorted label texts,
    empty when nothing is labelled.
    """

    backbone: str
    backbone_key: str
    weights_hash: str
    preprocessing: dict[str, Any]
    depths: tuple[tuple[str, int], ...]
    device: str
    batch: int
    threads: int
    rows_per_chunk: int
    rows: int
    manifest_sha256: str
    classes: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def hash(self) -> str:
        """What ties parts to this spec: sha256 of its canonical JSON, hex."""
        return hashlib.sha256(_text(self).encode()).hexdigest()

    def depth_list(self) -> tuple[Depth, ...]:
        """The depths as the backbone names them."""
        return tuple(Depth(name, dim) for name, dim in self.depths)


def make_spec(backbone: Backbone, settings: Settings, rows_per_chunk: int, manifest: Any) -> Spec:
    """The spec of `manifest` (manifest.Manifest) embedded with `backbone`."""
    device = settings.device
    if device == "auto":
        device = usable_accelerator() or "cpu"
    return Spec(
        backbone=backbone.name,
        backbone_key=backbone.key,
        weights_hash=backbone.weights_hash,
        preprocessing=backbone.preprocessing.to_json(),
        depths=tuple((depth.name, depth.dim) for depth in backbone.depths),
        device=device,
        batch=_BATCH[device],
        threads=settings.threads or _THREADS[device],
        rows_per_chunk=rows_per_chunk,
        rows=manifest.count,
        manifest_sha256=manifest.sha256,
        classes=manifest.classes,
    )


def write_spec(folder: Path, spec: Spec) -> None:
    """Write `spec.json`, whole or not at all."""
    write_to_cache(folder / NAME, (_text(spec) + "\n").encode())


def read_spec(folder: Path) -> Spec:
    """The spec of an embedded folder; DataError when there is none or it cannot be read."""
    file = folder / NAME
    try:
        found = json.loads(file.read_text("utf-8"))
        if found.get("schema") != SCHEMA:
            raise DataError(
                f"{file}: schema {found.get('schema')!r}, this headstart reads {SCHEMA}: use the other version"
            )
        if set(found) != {field.name for field in fields(Spec)}:
            raise ValueError("other keys than expected")
        depths = tuple((str(name), int(dim)) for name, dim in found.pop("depths"))
        return Spec(depths=depths, classes=tuple(found.pop("classes")), **found)
    except FileNotFoundError:
        raise DataError(f"{folder} is not an embedded folder (no {NAME}): make one with headstart embed DATA") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{file} cannot be read ({error}): begin again in another folder") from None


def check_same(folder: Path, there: Spec, wanted: Spec) -> None:
    """OtherFolderError naming what differs when `wanted` is another space, or other pictures, than what is `there`."""
    one, two = asdict(there), asdict(wanted)
    differing = [name for name in one if one[name] != two[name]]
    if differing and set(differing) <= {"manifest_sha256", "rows", "classes"}:
        raise OtherFolderError(
            f"{folder} was begun with other pictures ({there.rows} rows, DATA has {wanted.rows}): choose another "
            f"--out; to finish it as it was listed: headstart embed {folder} --out {folder}"
        )
    if differing:
        name = next(name for name in differing if name not in ("manifest_sha256", "rows", "classes"))
        raise OtherFolderError(f"{folder} was begun with {name} {one[name]!r}, not {two[name]!r}: choose another --out")


def _text(spec: Spec) -> str:
    return json.dumps(asdict(spec), sort_keys=True, indent=1)
