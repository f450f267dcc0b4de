"""OpenVINO on the CPU: no telemetry, exact fp32, several requests in flight, results in order."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from headstart.engine.cores import usable_cores
from headstart.engine.engine import Outputs, Pixels, T

_making = threading.Lock()
_MOST_STREAMS = 8  # every stream holds the activations of a batch; beyond this they cost memory and gain nothing


class OpenVinoEngine:
    """An ONNX graph (path, or the bytes of one) compiled for the CPU; only `outputs` are computed, all when None.

    Raises ImportError without openvino, RuntimeError when the graph cannot be read or compiled, ValueError for an
    output that the graph does not have. `run` may be called from several threads.
    """

    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        graph: Path | bytes,
        outputs: Sequence[str] | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        openvino, core = import_openvino(), the_core()
        self.precision = precision
        model = core.read_model(graph, b"") if isinstance(graph, bytes) else core.read_model(str(graph))
        if outputs is not None:
            model = _cut(openvino, model, outputs)
        threads = threads or usable_cores()
        self._streams = min(threads, _MOST_STREAMS)
        # Two pictures per core: as fast as 4, 8, 16 and 32 on two cores, with the fewest activations in memory
        # (resident: 176 MB against 282 MB at 8 and 422 MB at 16).
        self.batch = 2 * (threads // self._streams)
        # fp32 has to be asked for: on CPUs that have bf16 OpenVINO takes it by itself and moves every vector.
        # Threads are not pinned: the decode threads need the same cores.
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
                "NUM_STREAMS": str(self._streams),
                "INFERENCE_NUM_THREADS": str(threads),
                "ENABLE_CPU_PINNING": "NO",
            },
        )
        self._names = [output.any_name for output in self._compiled.outputs]
        self.side = int(self._compiled.inputs[0].partial_shape[1].get_length())
        self._own = threading.local()

    def run(self, batch: Pixels) -> Outputs:
        """One batch `(n, side, side, 3)` uint8, now."""
        request = getattr(self._own, "request", None)
        if request is None:
            with _making:
                request = self._own.request = self._compiled.create_infer_request()
        request.infer([batch], share_inputs=True)
        return self._outputs(request)

    def stream(self, batches: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Outputs]]:
        """Many batches, one request per stream and one waiting behind them; results in order."""
        idle = deque(self._compiled.create_infer_request() for _ in range(self._streams + 1))
        flying: deque[tuple[T, Any, Pixels]] = deque()  # the pixels are kept alive: the request reads them in place
        try:
            for tag, batch in batches:
                if not idle:
                    yield self._land(flying, idle)
                request = idle.popleft()
                request.start_async([batch], share_inputs=True)
                flying.append((tag, request, batch))
                while flying and flying[0][1].wait_for(0):
                    yield self._land(flying, idle)
            while flying:
                yield self._land(flying, idle)
        finally:
            for _, request, _ in flying:
                request.wait()

    def _land(self, flying: deque[tuple[T, Any, Pixels]], idle: deque[Any]) -> tuple[T, Outputs]:
        tag, request, _ = flying[0]
        request.wait()
        flying.popleft()
        result = self._outputs(request)
        idle.append(request)
        return tag, result

    def _outputs(self, request: Any) -> Outputs:
        return {
            name: np.array(request.get_output_tensor(i).data, dtype=np.float32) for i, name in enumerate(self._names)
        }


def the_core() -> Any:
    """The one OpenVINO core of this process, which lives as long as it does.

    A core gives the thread that compiles a stack for signals, and with the last trace of it goes that stack. Of two
    cores that do not end in the reverse order of their beginning the second leaves a stack that is gone: the next
    signal, Ctrl-C for one, is then a segmentation fault (seen with OpenVINO 2026.4 on Linux).
    """
    with _making:
        return _made_core()


@cache
def _made_core() -> Any:
    return import_openvino().Core()


def import_openvino() -> Any:
    """The openvino module without its telemetry.

    The import writes a client id into HOME and queues an analytics event through `openvino_telemetry`; an empty
    stand-in in its place keeps both from happening.
    """
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        silent = ModuleType("openvino_telemetry")
        silent.Telemetry = _NoTelemetry  # type: ignore[attr-defined]
        sys.modules["openvino_telemetry"] = silent
    import openvino

    return openvino


class _NoTelemetry:
    def __init__(self, *_args: Any, **_options: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_options: None


def _cut(openvino: Any, model: Any, names: Sequence[str]) -> Any:
    """The part of `model` that `names` need."""
    known = {name: output for output in model.outputs for name in output.get_names()}
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"the graph has no output {missing[0]!r} (it has {', '.join(sorted(known))})")
    results = [known[name].get_node() for name in names]
    return openvino.Model(results, model.get_parameters(), model.get_friendly_name())
