"""ONNX Runtime as an engine: what the exported file is run with by others, and so what it is judged with here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from headstart.engine.cores import usable_cores
from headstart.engine.engine import Outputs, Pixels, T
from headstart.errors import MachineError


class OnnxRuntimeEngine:
    """An ONNX model (bytes) on the CPU by ONNX Runtime, all usable cores. One output, `probabilities` (n, K).

    MachineError without onnxruntime.
    """

    name = "onnxruntime"
    device = "cpu"
    precision = "fp32"
    batch = 8  # as in predict.py

    def __init__(self, model: bytes) -> None:
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.side = int(self._session.get_inputs()[0].shape[1])
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, batch: Pixels) -> Outputs:
        """One batch `(n, side, side, 3)` uint8, now."""
        (rows,) = self._session.run(["probabilities"], {"images": batch})
        return {"probabilities": np.asarray(rows, np.float32)}

    def stream(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Outputs]]:
        """Many batches, one after the other."""
        for tag, batch in batches:
            yield tag, self.run(batch)


def import_onnxruntime() -> Any:
    """The onnxruntime module without its telemetry (Windows builds have one), or MachineError saying how to get it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MachineError(
            f"exporting is checked with ONNX Runtime, which is missing here ({error}): pip install 'headstart[onnx]'"
        ) from None
    onnxruntime.disable_telemetry_events()
    return onnxruntime
