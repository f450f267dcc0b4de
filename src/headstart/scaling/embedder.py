"""Embedders: from the URIs of a chunk to its columns. The usual one owns an engine for the life of its worker."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from headstart.backbone.backbone import Backbone
from headstart.embedding.columns import Columns, batch_columns, empty_columns, put, take, usable_rows
from headstart.engine.choose import choose
from headstart.engine.engine import Engine
from headstart.engine.openvino import OpenVinoEngine
from headstart.engine.stream import StreamBatch, StreamOptions, stream
from headstart.errors import MachineError
from headstart.images.load import Picture, load_image
from headstart.scaling.reading import read_uri
from headstart.scaling.sameness import same_backbone
from headstart.scaling.spec import Spec

_AT_A_TIME = 32  # rows: bookkeeping for several small batches at once takes a third of the time
NOT_FINITE = "the network gives no finite numbers for it"


class Embedder(Protocol):
    """Makes columns (embedding/columns.py) of pictures."""

    def __call__(self, uris: Sequence[str]) -> tuple[Columns, list[str | None]]:
        """Columns `(len(uris), …)` and per picture None or why it cannot be used; never raises for a bad picture."""


MakeEmbedder = Callable[[Spec], Embedder]


def embedder_of(spec: Spec, name: str | None = None) -> Embedder:
    """The embedder of a worker: what `name` ("module:function", called with the spec) makes, or the usual one."""
    if name is None:
        return EngineEmbedder(spec)
    module, _, function = name.partition(":")
    make: MakeEmbedder = getattr(importlib.import_module(module), function)
    return make(spec)


class EngineEmbedder:
    """Decode threads beside one engine, batches always filled up, each picture alone again when it is not finite.

    Raises MachineError when this machine's backbone is not the spec's, or no engine works.
    """

    def __init__(self, spec: Spec, backbone: Backbone | None = None) -> None:
        self._spec = spec
        self._backbone = backbone or same_backbone(
            spec.backbone, spec.backbone_key, spec.weights_hash, spec.preprocessing
        )
        self._engine: Engine | None = None

    def __call__(self, uris: Sequence[str]) -> tuple[Columns, list[str | None]]:
        """See Embedder."""
        columns = empty_columns(len(uris), self._backbone.depths)
        errors: list[str | None] = [None] * len(uris)
        odd = self._run(uris, list(range(len(uris))), self._spec.batch, columns, errors)
        if odd:  # a neighbour or an unlucky kernel may have been the reason
            for row in self._run(uris, odd, 1, columns, errors):
                errors[row] = NOT_FINITE
        return columns, errors

    def _run(
        self, uris: Sequence[str], rows: list[int], batch: int, columns: Columns, errors: list[str | None]
    ) -> list[int]:
        """Fill the rows; those that came out with NaN or infinity are left zero and returned."""
        keys: dict[int, bytes] = {}

        def load(row: int) -> Picture:
            content = read_uri(uris[row])
            keys[row] = hashlib.sha256(content).digest()
            return load_image(content, self._backbone.preprocessing)

        odd: list[int] = []
        held: list[StreamBatch] = []

        def keep() -> None:
            where = np.array([rows[j] for done in held for j in done.indices])
            found = batch_columns(held, [keys.pop(row) for row in where.tolist()], self._backbone.depths)
            good = usable_rows(found)
            odd.extend(where[~good].tolist())
            put(columns, where[good], take(found, good))
            held.clear()

        options = StreamOptions(batch=batch, pad=True, threads=self._spec.threads)
        for done in stream(rows, load, self._ready, options):
            for j, reason in done.errors.items():
                errors[rows[j]] = reason
            if done.indices:
                held.append(done)
            if sum(len(one.indices) for one in held) >= _AT_A_TIME:
                keep()
        if held:
            keep()
        return odd

    def prepare(self) -> None:
        """Make the engine now."""
        self._ready()

    def _ready(self) -> Engine:
        if self._engine is None:
            self._engine = _engine(self._backbone, self._spec)
        return self._engine


def _engine(backbone: Backbone, spec: Spec) -> Engine:
    if spec.device == "cpu":
        try:
            return OpenVinoEngine(backbone.graph(), threads=spec.threads)
        except ImportError as error:
            raise MachineError(f"no engine can run the network: OpenVINO is missing ({error})") from None
    engine: Any = choose(backbone.graph(), backbone.torch_module, spec.device)[0]
    return engine  # type: ignore[no-any-return]
