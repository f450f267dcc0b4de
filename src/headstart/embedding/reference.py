"""A fresh fp32 pass of the backbone over few pictures, past every cache: what a saved classifier is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone
from headstart.embedding.engines import exact_engine
from headstart.engine.stream import StreamOptions, stream
from headstart.images.load import load_square
from headstart.images.open import Source


def fresh_matrix(sources: Sequence[Source], backbone: Backbone, depths: Sequence[int]) -> NDArray[np.float32]:
    """Float32 vectors `(n, sum of dims)` of the given depths; every source must be readable."""
    names = [backbone.depths[d].name for d in depths]
    engine = exact_engine(backbone, names)
    rows: list[NDArray[np.float32]] = []
    for batch in stream(sources, lambda s: load_square(s, backbone.preprocessing), engine, StreamOptions()):
        if batch.indices:
            rows.append(np.concatenate([batch.outputs[name] for name in names], axis=1))
    matrix = np.concatenate(rows)
    if len(matrix) != len(sources):
        raise ValueError(f"{len(sources) - len(matrix)} pictures could not be read again")
    return matrix
