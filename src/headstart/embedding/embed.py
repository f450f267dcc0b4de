"""Pictures to vectors at every depth: one pass, cached by content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone, Depth
from headstart.embedding.cache import EmbeddingCache
from headstart.embedding.columns import Columns, empty_columns
from headstart.embedding.squares import Squares
from headstart.embedding.upkeep import cache_limit, evict
from headstart.embedding.work import Work, content_key
from headstart.engine.engine import EngineFacts
from headstart.engine.stream import StreamTimes
from headstart.images.open import BadImageError, Source, read_bytes


@dataclass(frozen=True)
class EmbedOptions:
    """`cache` None: no cache. `device`: auto, cpu, cuda, mps. `progress(done, total)` counts pictures.

    `cache_limit`: bytes that all embeddings in the cache may take (None: the user's setting).
    """

    cache: Path | None = None
    device: str = "auto"
    progress: Callable[[int, int], None] | None = None
    cache_limit: int | None = None


@dataclass(frozen=True)
class EmbedFacts:
    """How it went. `engine` is None when everything came from the cache; `notes` are for the user."""

    engine: EngineFacts | None
    computed: int
    cached: int
    times: StreamTimes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Embeddings:
    """Everything one pass learned about n pictures, in their order; rows of bad pictures are zero and have an error.

    `vectors[d]` float16 `(n, depths[d].dim)`; `source_top` = (int16 `(n, 5)`, float16 `(n, 5)`): classes of the
    discarded head and their probabilities, largest first; `thumbnails` uint8 `(n, 32, 32)`, none in a Material, which
    has looked at them; `sizes` int32 `(n, 2)`: width, height. `squares`: the decoded pictures, where few were just
    embedded.
    """

    depths: tuple[Depth, ...]
    vectors: tuple[NDArray[np.float16], ...]
    source_top: tuple[NDArray[np.int16], NDArray[np.float16]]
    pixel_hashes: list[bytes]
    thumbnails: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    errors: tuple[str | None, ...]
    facts: EmbedFacts
    squares: Squares = field(default_factory=Squares)

    def __len__(self) -> int:
        return len(self.errors)

    def matrix(
        self, depth_indices: Sequence[int], rows: NDArray[np.integer] | NDArray[np.bool_] | None = None
    ) -> NDArray[np.float16]:
        """Vectors of the given depths side by side, float16 `(rows, sum of dims)`."""
        chosen = slice(None) if rows is None else np.asarray(rows)
        parts = [self.vectors[d] for d in depth_indices]
        return np.concatenate([part[chosen] for part in parts], axis=1)


def embed(sources: Sequence[Source], backbone: Backbone, options: EmbedOptions = EmbedOptions()) -> Embeddings:
    """Embed `sources` (paths, bytes or arrays) with `backbone`, reading each file once and decoding only what is new.

    Pictures that cannot be used have an entry in `errors`; MachineError when no engine works or the disk is gone.
    """
    limit = cache_limit() if options.cache_limit is None else options.cache_limit
    work = Work(sources, backbone, empty_columns(len(sources), backbone.depths), options.device)
    # When the folder cannot be written the backbone has said so already.
    folder = None if backbone.notes else options.cache
    if folder is None:
        _compute(work, options, None)
        notes: list[str] = []
    else:
        cache = EmbeddingCache(folder, space_key(backbone), backbone.depths)
        _compute(work, options, cache)
        notes = cache.notes
        if work.computed:
            evict(folder, limit)
    cached = sum(error is None for error in work.errors) - work.computed
    facts = EmbedFacts(work.engine_facts, work.computed, cached, work.times, (*backbone.notes, *notes))
    return _result(work, backbone, facts)


def not_cached(sources: Sequence[Source], backbone: Backbone, folder: Path) -> list[int]:
    """Which of `sources` an `embed` with this cache would have to compute; every file is read, none decoded."""
    cache = EmbeddingCache(folder, space_key(backbone), backbone.depths)
    missing = []
    for i, source in enumerate(sources):
        with suppress(BadImageError):  # what cannot be read is not computed either
            data = source if isinstance(source, (bytes, np.ndarray)) else read_bytes(source)
            if content_key(data) not in cache:
                missing.append(i)
    return missing


def space_key(backbone: Backbone) -> str:
    """Everything a vector depends on besides the picture itself."""
    return f"{backbone.key} {backbone.weights_hash} {backbone.preprocessing.key} fp32"


def _compute(work: Work, options: EmbedOptions, cache: EmbeddingCache | None) -> None:
    everything = np.arange(len(work.errors))
    if cache is None:
        work.run(everything, _nothing, None, options.progress)
    else:
        with cache.writer() as writer:
            work.run(everything, cache.__contains__, writer, options.progress)
            not_finite = work.not_finite
            lost = cache.fill(work.columns, work.keys, np.flatnonzero(work.cached))
            if len(lost):
                work.run(lost, _nothing, writer)
                work.not_finite += not_finite
    if work.not_finite:  # once more, each alone: a neighbour or an unlucky kernel may have been the reason
        work.run(np.array(work.not_finite), _nothing, None, batch=1)
    for row in work.not_finite:
        work.errors[row] = "the network gives no finite numbers for it"


def _nothing(_key: bytes) -> bool:
    return False


def _result(work: Work, backbone: Backbone, facts: EmbedFacts) -> Embeddings:
    return replace(embeddings_of(work.columns, work.errors, backbone.depths, facts), squares=work.squares)


def embeddings_of(
    columns: Columns, errors: Sequence[str | None], depths: tuple[Depth, ...], facts: EmbedFacts
) -> Embeddings:
    """Columns `(n, …)` of n pictures, and why some of them have none, as Embeddings."""
    return Embeddings(
        depths=depths,
        vectors=tuple(columns[f"vector.{depth.name}"] for depth in depths),
        source_top=(columns["source_indices"], columns["source_probabilities"]),
        pixel_hashes=[row.tobytes() for row in columns["pixel_hash"]],
        thumbnails=columns["thumbnail"],
        sizes=columns["size"],
        errors=tuple(errors),
        facts=facts,
    )
