"""Scaled: `fit` on pictures that workers embed (`--on`), or that are embedded already. Then the usual story goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart import rules
from headstart.backbone.backbone import open_backbone
from headstart.cache_folder import cache_folder
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.data.assemble import check_learnable
from headstart.data.manifest import CSV, PARQUET
from headstart.data.samples import Samples
from headstart.data.scan import scan
from headstart.embedding.embed import Embeddings, EmbedFacts, embeddings_of
from headstart.engine.memory import machine_memory
from headstart.engine.stream import StreamTimes
from headstart.errors import DataError, UsageError
from headstart.outofcore import names_of, train_out_of_core
from headstart.progress import Progress
from headstart.run import Run, open_run
from headstart.scaling.embed import embed_folder
from headstart.scaling.reading import is_remote, path_of
from headstart.scaling.sources import listed
from headstart.scaling.spec import OtherFolderError, read_spec
from headstart.scaling.vectors import UNUSED, Vectors, is_embedded

FOLDER = "embedded"  # RUN/embedded: it survives a crash, --resume finds it without being told, and it goes with the run
LONG_LIST = 1_000_000  # pictures of a list from which it is streamed and never held
BESIDE = 1200  # bytes of a picture beside its vectors: thumbnail, hashes, path


def fit_scaled(data: Path, config: FitConfig, progress: Progress, clock: Clock) -> Run:
    """Embed with workers what is missing, then go on from the vectors: in memory when they fit, else out of core.

    Raises as `pipeline.fit` and `embed_folder` do; what is embedded stays, and the same call with resume goes on.
    """
    from headstart.pipeline import train

    there = is_embedded(data)
    config = replace(config, backbone=_backbone(data if there else None, config))
    with clock("scan"):
        progress.start("scan")
        samples, n = (None, read_spec(data).rows) if there else _scanned(data)
        why = _too_large(n, config)
        if why is not None and samples is not None:
            samples = _to_learn(samples, progress)
    run = open_run(config.out, config.when_exists)
    if config.when_exists == "resume" and run.finished:
        progress.say(f"{run.folder} is finished already; --overwrite trains it again")
        return run
    folder = data if there else run.folder / FOLDER
    with clock("embed"):
        run.log("embed", on=config.on)
        if config.on is not None:
            _embed(data if samples is None else samples, folder, config, run, progress)
        vectors = Vectors(folder)
        why = why or _elsewhere(vectors, config)
        known = None if why else _in_memory(vectors, samples, progress)
    if known is not None:
        return train(known[0], config, run, progress, clock, known[1])
    progress.say(f"{why}: a head is trained from part files, nothing is raced")
    return train_out_of_core(folder, config, run, progress, clock)


def _backbone(folder: Path | None, config: FitConfig) -> str:
    """The backbone that the pictures are embedded with. UsageError when another one is asked for."""
    if folder is None:
        return str(rules.backbone(config.backbone).value)
    there = read_spec(folder).backbone
    if config.backbone not in ("auto", there):
        raise UsageError(f"{folder} is embedded with {there}: leave --backbone {config.backbone} away")
    return there


def _scanned(data: Path) -> tuple[Samples | None, int]:
    """The samples and their number; None for a list that is long or of other places: it is streamed."""
    if data.is_file() and data.suffix.lower() in CSV | PARQUET:
        found = listed(data)
        first = next(iter(found.rows()), None)
        if found.about > LONG_LIST or (first is not None and is_remote(first[0])):
            return None, found.about
    samples = scan(data)
    return samples, len(samples)


def _too_large(n: int, config: FitConfig) -> str | None:
    """Why the vectors of `n` pictures cannot be held in memory; None when they can."""
    depths = open_backbone(config.backbone, cache_folder()).depths
    row = 2 * sum(depth.dim for depth in depths) + BESIDE
    rule = rules.vectors_fit(n, row, config.memory or machine_memory())
    return None if rule.value else _only_a_head(rule.why, config)


def _elsewhere(vectors: Vectors, config: FitConfig) -> str | None:
    """Why pictures that do not lie on this machine cannot be raced."""
    first = vectors.ledger.manifest.rows(0, 1).uris[0]
    return _only_a_head(f"the pictures are at {first.partition('://')[0]}://", config) if is_remote(first) else None


def _only_a_head(why: str, config: FitConfig) -> str:
    if config.train not in ("auto", "head"):
        raise UsageError(f"--train {config.train}: {why}, so only a head can be trained: leave --train away")
    return why


def _to_learn(samples: Samples, progress: Progress) -> Samples:
    """Without the test part, which is not judged from part files."""
    tests = samples.parts == "test"
    if not tests.any():
        return samples
    progress.say(f"the {int(tests.sum())} pictures of test/ are left out: headstart evaluate RUN DATA judges them")
    return samples.take(~tests)


def _embed(data: Path | Samples, folder: Path, config: FitConfig, run: Run, progress: Progress) -> None:
    """Do what is missing in the folder. Overwriting a run begins again where its pictures were others."""
    on = str(config.on)
    if isinstance(data, Path) and is_embedded(data):
        embed_folder(data, data, on, progress=progress)
        return
    try:
        embed_folder(data, folder, on, config.backbone, progress)
    except OtherFolderError:
        if config.when_exists != "overwrite":
            raise
        run.forget(FOLDER)
        embed_folder(data, folder, on, config.backbone, progress)


def _in_memory(vectors: Vectors, samples: Samples | None, progress: Progress) -> tuple[Samples, Embeddings]:
    """Samples and their vectors; those of the folder's own rows where there are no samples."""
    spec = vectors.ledger.spec
    progress.start("read", spec.rows)
    few = vectors.few(np.arange(spec.rows))
    found = embeddings_of(few.columns, few.errors, spec.depth_list(), EmbedFacts(None, 0, spec.rows, StreamTimes(), ()))
    if samples is not None:
        return samples, found
    labels = vectors.facts().labels
    kept = np.flatnonzero(labels != UNUSED)
    if not len(kept):
        raise DataError(f"{vectors.folder}: no picture has a label; embed a folder of classes, or a list with labels")
    left = len(labels) - len(kept)
    own = Samples(
        root=None,
        sources=tuple(path_of(uri) for uri in few.uris),
        names=names_of(few.uris),
        labels=labels,
        classes=spec.classes,
        parts=np.full(len(labels), "train", dtype="<U5"),
        groups=np.array(few.groups, dtype=np.str_) if any(few.groups) else None,
        notes=(f"{left} pictures without a label were left out",) if left else (),
    )
    if left:
        own = own.take(kept)
        columns = {name: column[kept] for name, column in few.columns.items()}
        found = embeddings_of(columns, [few.errors[i] for i in kept], spec.depth_list(), found.facts)
    check_learnable(vectors.folder, own)
    return own, found
