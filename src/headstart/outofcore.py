"""Out of core: answer A where the vectors do not fit into memory. Heads from part files, and no race.

The figures are of every picture. What looks at single pictures (the proof, the page, the findings) is shown on a sample
that stands for all: its head is the one of everything, its held-out predictions are those of the folds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import document, findings, rules
from headstart.backbone.backbone import open_backbone
from headstart.cache_folder import cache_folder
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.data.keys import contradicted, hashed_folds, together
from headstart.data.samples import Samples
from headstart.data.split import Split
from headstart.embedding.embed import Embeddings, EmbedFacts, embeddings_of
from headstart.engine.memory import machine_memory
from headstart.engine.stream import StreamTimes
from headstart.errors import DataError
from headstart.evidence import Evidence
from headstart.finish import save_head
from headstart.head.streamed import Block
from headstart.howmuch.stream_probe import SUMS_BYTES, Stream, Streamed, probe_stream
from headstart.images.open import Source
from headstart.images.printable import printable
from headstart.material import sort_out
from headstart.nearness import similarity_of
from headstart.progress import Progress
from headstart.racing import Raced
from headstart.run import PROFILE, Run
from headstart.scaling.reading import is_remote, path_of, read_uri
from headstart.scaling.vectors import UNUSED, Facts, Few, Vectors
from headstart.showing import Showing, show, write_pages
from headstart.training import Ground, Seen

IntArray = NDArray[np.int64]

SAMPLE = 20_000  # pictures that stand for all
ELSEWHERE = 500  # of pictures that are not on this machine: they are read once more


@dataclass(frozen=True)
class Rows:
    """What is learned from in an embedded folder: `folds` int64 `(n,)`, UNUSED for rows that are left out.

    `groups` `(n,)`: what belongs together, where the user said so. `sample`: ascending rows; `few`: all about them.
    """

    vectors: Vectors
    facts: Facts
    folds: IntArray
    groups: IntArray | None
    conflicts: int
    copies: int
    few: Few

    @property
    def used(self) -> IntArray:
        """The rows to learn from."""
        return np.flatnonzero(self.folds != UNUSED)


def train_out_of_core(folder: Path, config: FitConfig, run: Run, progress: Progress, clock: Clock) -> Run:
    """From a finished embedded folder to a run: the story of `pipeline`, without a race."""
    run.log("start", embedded=str(folder), config=config.to_json())
    with clock("embed"):
        rows = rows_of(Vectors(folder), config.seed, progress)
        spec = rows.vectors.ledger.spec
        backbone = open_backbone(spec.backbone, cache_folder())
    run.write_csv("bad_images.csv", ("path", "reason"), _bad_rows(rows))

    with clock("probe"):
        room = min(SUMS_BYTES, (config.memory or machine_memory()) // 4)
        streamed = probe_stream(stream_of(rows), config.seed, progress, room)
        material = sort_out(_samples(rows), _embeddings(rows))
        folds = rows.folds[rows.few.rows][None]
        split = Split(folds, config.seed, "by a hash of groups and equal pictures")
        ground = Ground(material, backbone, split, streamed.probe, config.seed)
    with clock("similarity"):
        similarity = similarity_of(material, backbone, streamed.probe)
    settings = (
        rules.embedded_with(spec.backbone), rules.train("head"), rules.hashed_folds(), rules.repeats(len(rows.used)),
    )  # fmt: skip
    seen = Seen(ground, similarity, settings)
    run.log("probed", chosen=list(streamed.probe.chosen.names), top1=streamed.judged.top1)

    saved, first_answer = save_head(run, seen, clock, progress), clock.seconds()["total"]
    run.forget_older()
    raced = Raced(f"the vectors of {len(rows.used)} pictures do not fit into memory: nothing is raced")
    run.log("raced", ended=raced.ended, train="head")

    evidence = Evidence()
    shown = show(run, ground, saved, clock, Showing(config, first_answer, False))
    with clock("write"):
        said = findings.of_result(material, saved.answer, saved.finished.temperature, evidence, shown.inspected)
        told = document.Told(config, seen, saved, evidence, said, raced, (), shown)
        document.write(run, replace(told, whole=_whole(rows, streamed)), clock.seconds())
        write_pages(run, progress)
    run.log("done", seconds=clock.seconds())
    if config.profile:
        run.write_json(PROFILE, clock.profile().to_json())
    return run


def rows_of(vectors: Vectors, seed: int, progress: Progress) -> Rows:
    """Which rows are learned from, their folds, and the sample. DataError when too little is left."""
    progress.start("read", vectors.ledger.spec.rows)
    facts = vectors.facts(progress.update)
    n, labelled = len(facts), facts.labels != UNUSED
    if not labelled.any():
        raise DataError(f"{vectors.folder}: no picture has a label; embed a folder of classes, or a list with labels")
    _check_bad(vectors, facts)
    good = np.flatnonzero(labelled & ~facts.bad)
    wrong = contradicted(facts.pixels[good], facts.labels[good])
    used = good[~wrong]
    _check_classes(vectors, facts.labels[used])
    groups = None if facts.groups is None else facts.groups[used]
    ids = together(facts.pixels[used], groups)
    folds = np.full(n, UNUSED, np.int64)
    folds[used] = hashed_folds(_least_pixels(facts.pixels[used], ids), seed, rules.hashed_folds().value)
    own = None if groups is None else _everywhere(n, used, ids)
    first = vectors.ledger.manifest.rows(int(used[0]), 1).uris[0]
    most = ELSEWHERE if is_remote(first) else SAMPLE
    chosen = np.sort(np.random.default_rng([seed, 3]).choice(used, min(most, len(used)), replace=False))
    copies = len(used) - len(np.unique(facts.pixels[used]))
    return Rows(vectors, facts, folds, own, int(wrong.sum()), copies, vectors.few(chosen))


def stream_of(rows: Rows) -> Stream:
    """The rows as the probe reads them."""
    vectors, labels, folds, few = rows.vectors, rows.facts.labels, rows.folds, rows.few

    def blocks(depths: Sequence[int]) -> Iterable[Block]:
        return vectors.blocks(labels, folds, depths)

    def shuffled(depths: Sequence[int], size: int, rng: np.random.Generator) -> Iterable[Block]:
        return vectors.shuffled(labels, folds, depths, size, rng)

    matrices = tuple(few.columns[f"vector.{name}"] for name in vectors.names)
    return Stream(
        blocks=blocks,
        shuffled=shuffled,
        sample=Block(matrices, labels[few.rows], folds[few.rows], few.rows),
        n=len(labels),
        names=vectors.names,
        n_classes=len(vectors.ledger.spec.classes),
        folds=rules.hashed_folds().value,
        groups=rows.groups,
    )


def names_of(uris: Sequence[str]) -> tuple[str, ...]:
    """URIs without the folders that they all share, safe to print."""
    places = [uri.split("/") for uri in uris]
    first, last = min(places), max(places)  # what these two share, all do
    shared = 0
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return tuple(printable("/".join(place[shared:])) for place in places)


def _samples(rows: Rows) -> Samples:
    few = rows.few
    sources: list[Source] = [read_uri(uri) if is_remote(uri) else path_of(uri) for uri in few.uris]
    return Samples(
        root=None,
        sources=tuple(sources),
        names=names_of(few.uris),
        labels=rows.facts.labels[few.rows],
        classes=rows.vectors.ledger.spec.classes,
        parts=np.full(len(few.uris), "train", dtype="<U5"),
        groups=np.array(few.groups, dtype=np.str_) if any(few.groups) else None,
    )


def _embeddings(rows: Rows) -> Embeddings:
    spec, facts = rows.vectors.ledger.spec, EmbedFacts(None, 0, len(rows.facts), StreamTimes(), ())
    return embeddings_of(rows.few.columns, rows.few.errors, spec.depth_list(), facts)


def _whole(rows: Rows, streamed: Streamed) -> document.Whole:
    """Figures of everything, for the result that is otherwise written from the sample."""
    labels, classes = rows.facts.labels[rows.used], rows.vectors.ledger.spec.classes
    counts, judged = np.bincount(labels, minlength=len(classes)), streamed.judged
    left_out = f"; no room for the sums of {', '.join(streamed.left_out)}" if streamed.left_out else ""
    return document.Whole(
        judged=judged,
        how=(
            f"out of fold on all {judged.n} pictures ({rules.hashed_folds().value} folds by a hash of groups and equal "
            f"pictures), not corrected for the choice among {len(streamed.probe.candidates)} heads: with so many "
            f"pictures it hardly counts{left_out}"
        ),
        data={
            "n": len(labels),
            "per_class": [int(c) for c in counts],
            "per_class_median": float(np.median(counts)),
            "skipped": int(rows.facts.bad.sum()),
            "duplicates": rows.copies,
            "conflicts": rows.conflicts,
            "groups": None if rows.groups is None else len(np.unique(rows.groups[rows.used])),
            "sample": len(rows.few.rows),
        },
    )


def _bad_rows(rows: Rows) -> list[tuple[str, str]]:
    bad = np.flatnonzero(rows.facts.bad)
    return [(printable(uri), reason) for uri, reason in rows.vectors.reasons(bad)]


def _check_bad(vectors: Vectors, facts: Facts) -> None:
    bad = np.flatnonzero(facts.bad)
    if rules.too_many_bad(len(bad), len(facts)) or len(bad) == len(facts):
        shown = "; ".join(f"{printable(uri)}: {reason}" for uri, reason in vectors.reasons(bad[:3]))
        raise DataError(
            f"{len(bad)} of {len(facts)} pictures cannot be read ({shown}{'; ...' if len(bad) > 3 else ''}): repair or "
            "remove them and run again"
        )


def _check_classes(vectors: Vectors, labels: IntArray) -> None:
    classes = vectors.ledger.spec.classes
    if len(classes) < 2:
        raise DataError(f"{vectors.folder}: only {len(classes)} class: at least two are needed")
    empty = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(empty):
        raise DataError(
            f"class {classes[empty[0]]!r} lost all of its pictures (unreadable, or the same pixels in another class): "
            "repair them or remove the class"
        )


def _least_pixels(pixels: NDArray[np.uint64], ids: IntArray) -> NDArray[np.uint64]:
    """The smallest pixel hash of what belongs together: it names a fold whatever the order of the rows."""
    least = np.full(len(ids), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, ids, pixels)
    return least[ids]


def _everywhere(n: int, rows: IntArray, values: IntArray) -> IntArray:
    found = np.full(n, UNUSED, np.int64)
    found[rows] = values
    return found
