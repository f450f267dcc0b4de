"""Other weights into an exported graph: how a fine-tuned network becomes ONNX without a second export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def graph_with(graph: Path | bytes, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The ONNX `graph` with the initializers named in `tensors` replaced (float32, same shapes); all else untouched.

    The graph's initializers bear the names of the folded network's parameters, so a trained state dict fits as it is.
    ValueError for a name the graph does not have, another shape, or numbers that are not finite.
    """
    import onnx

    model = onnx.load_from_string(graph) if isinstance(graph, bytes) else onnx.load(graph, load_external_data=False)
    places = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in tensors.items():
        if name not in places:
            raise ValueError(f"the graph has no weights {name!r}")
        with np.errstate(over="ignore"):  # too large for float32: refused below
            array = np.ascontiguousarray(value, dtype=np.float32)
        if tuple(places[name].dims) != array.shape:
            raise ValueError(f"the weights {name!r} are {array.shape}, the graph wants {tuple(places[name].dims)}")
        if not np.isfinite(array).all():
            raise ValueError(f"the weights {name!r} hold numbers that are not finite")
        places[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    return bytes(model.SerializeToString())
