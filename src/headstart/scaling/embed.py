"""`headstart embed`: from pictures to an embedded folder, begun anew or gone on with. The story of this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.backbone.backbone import open_backbone
from headstart.backbone.sources import DEFAULT
from headstart.backbone.torch_only import refuse_run
from headstart.data.samples import Samples
from headstart.errors import DataError, MachineError, UsageError
from headstart.progress import Progress, Silent
from headstart.scaling import manifest, spec
from headstart.scaling.backend import Backend, backend_of
from headstart.scaling.chunks import Chunk
from headstart.scaling.ledger import Counts, Ledger
from headstart.scaling.lock import locked
from headstart.scaling.sources import listed
from headstart.scaling.spec import Settings, check_same, make_spec, read_spec, write_spec
from headstart.scaling.worker import Done

_ROUNDS = 2  # a part that is found damaged at the end is made once more; then it is the disk


def embed_folder(
    data: Path | Samples,
    out: Path,
    on: str | Backend = "local",
    backbone: str = "auto",
    progress: Progress | None = None,
    settings: Settings | None = None,
) -> Counts:
    """Embed every picture of `data` into the folder `out`, or finish what is missing there.

    `data`: a folder of classes, a CSV or Parquet list (uri or path; label, group), Samples, or `out` itself: then it
    is finished as it was listed. `on`: local, ray, ray://HOST:PORT, or a backend. Ends with every part checked and
    `_SUCCESS.json` written. Raises UsageError (`out` holds another space or other pictures), DataError, MachineError
    (disk full, another driver at work); what is done stays and the same call goes on from there.
    """
    progress = progress or Silent()
    backend = backend_of(on) if isinstance(on, str) else on
    as_listed = isinstance(data, Path) and data.absolute() == out.absolute() and (out / spec.NAME).exists()
    _prepare(out)
    with locked(out):
        if not as_listed:
            _begin(data, out, backbone, settings or Settings(), progress)
        return _finish(Ledger(out), backend, progress)


def finish_folder(out: Path, on: str | Backend = "local", progress: Progress | None = None) -> Counts:
    """Do what is missing in a folder that was begun (spec and manifest are there), check it; raises as embed_folder."""
    backend = backend_of(on) if isinstance(on, str) else on
    with locked(out):
        return _finish(Ledger(out), backend, progress or Silent())


def _prepare(out: Path) -> None:
    """Make the folder; UsageError when it holds something else."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        inside = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise MachineError(f"{out} cannot be written ({error.strerror}): choose another --out") from None
    if inside and not inside & {spec.NAME, manifest.NAME, "lock"}:
        raise UsageError(f"{out} holds other files: choose another --out")


def _begin(data: Path | Samples, out: Path, name: str, settings: Settings, progress: Progress) -> None:
    """Manifest and spec, in this order; when they are there, the same ones must come out again."""
    begun = (out / spec.NAME).exists()
    there = read_spec(out) if begun else None
    if there is not None and settings.rows_per_chunk is None:
        settings = replace(settings, rows_per_chunk=there.rows_per_chunk)
    if there is not None and name == "auto":
        name = there.backbone
    progress.start("list")
    source = listed(data)
    for note in source.notes:
        progress.say(note)
    refuse_run(name)
    backbone = open_backbone(DEFAULT if name == "auto" else name, settings.cache)
    for note in backbone.notes:
        progress.say(note)
    per_chunk = settings.chunk_rows(source.about)
    draft = manifest.draft_manifest(out, source.rows(), per_chunk)
    try:
        drafted = manifest.peek(draft)
        wanted = make_spec(backbone, settings, per_chunk, drafted)
        drafted.close()
        if there is not None:
            check_same(out, there, wanted)
            return
        backbone.graph()  # made once, before several workers ask for it
        manifest.adopt(out, draft).close()
        write_spec(out, wanted)
    finally:
        draft.unlink(missing_ok=True)


def _finish(ledger: Ledger, backend: Backend, progress: Progress) -> Counts:
    """Pending chunks to the backend, then everything is checked."""
    (ledger.folder / "parts").mkdir(exist_ok=True)
    computed = 0
    for _ in range(_ROUNDS):
        pending = ledger.pending()
        done_before = ledger.success()
        if not pending and done_before is not None:
            return replace(done_before, computed=computed)
        if pending:
            backend.work(ledger.folder, pending, _Meter(ledger, pending, progress).told)
            computed += len(pending)
        progress.start("check", len(ledger.chunks))
        try:
            return replace(ledger.verify(progress.update), computed=computed)
        except DataError:
            if not ledger.pending():
                raise
    raise MachineError(f"{ledger.folder}: parts are damaged again and again: check the disk")


class _Meter:
    """Tells how many pictures are embedded, those of earlier runs included."""

    def __init__(self, ledger: Ledger, pending: Sequence[Chunk], progress: Progress) -> None:
        self._ledger, self._progress = ledger, progress
        self._rows = ledger.spec.rows - sum(chunk.count for chunk in pending)
        progress.start("embed", ledger.spec.rows)
        progress.update(self._rows)

    def told(self, done: Done) -> None:
        self._rows += done.ok + done.bad
        self._progress.update(self._rows)
