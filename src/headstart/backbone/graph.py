"""One ONNX graph of a backbone with all depths, made once, and accepted only when it agrees with torch.

What a package brings is known already (`prepared`), the rest is exported with torch. Runs in a process of its own
(`python -m headstart.backbone.graph NAME CACHE`), so that the main process never imports torch and decodes pictures
meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.graph_file import GRAPH_VERSION, GraphFile, graph_file
from headstart.backbone.prepared import EVERY, prepared
from headstart.backbone.source import Source
from headstart.backbone.sources import find_source
from headstart.backbone.torch_only import NotExportableError, forget, remember, remembered
from headstart.cache_folder import remove_leftovers, write_to_cache
from headstart.engine.engine import Outputs, Pixels
from headstart.errors import HeadstartError, MachineError

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory", "bad_alloc", "bad allocation")
_TOLERANCE = 1e-4  # of the largest value of an output; OpenVINO and torch differ by some 1e-6


def export_graph(source: Source, cache: Path) -> GraphFile:
    """The checked graph of `source` in `cache`; of several processes one exports and the others wait for it.

    Raises NotExportableError when there is no graph that agrees with torch; that is remembered in place of the graph.
    MachineError when the cache cannot be written, or memory is short.
    """
    from filelock import FileLock

    target = graph_file(source, cache)
    try:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.path.with_suffix(".lock")):
            if not target.is_whole():
                if (reason := remembered(source, cache)) is not None:
                    raise NotExportableError(reason)
                remove_leftovers(target.path.parent)
                _try(source, cache, target)
    except OSError as error:
        raise MachineError(
            f"the graph of {source.name} cannot be written to {target.path.parent}: {error.strerror or error}; "
            "free space or set HEADSTART_CACHE to another folder"
        ) from None
    return target


def _try(source: Source, cache: Path, target: GraphFile) -> None:
    """Export, and remember when that is not possible."""
    try:
        _export(source, cache, target)
    except NotExportableError as error:
        if source.reader == "run":  # what a run keeps is folded, and was a graph: torch alone would not do
            raise MachineError(f"{error}: give the network that the run was trained from") from None
        remember(source, cache, error.reason)
        raise
    forget(source, cache)


def _export(source: Source, cache: Path, target: GraphFile) -> None:
    content, record = _known(source) or _by_torch(source, cache)
    write_to_cache(target.path, content)
    record["sha256"] = hashlib.sha256(content).hexdigest()
    write_to_cache(target.record, json.dumps(record).encode())


def _known(source: Source) -> tuple[bytes, dict[str, Any]] | None:
    """The graph that comes along, its weights filled in, when this machine's engine answers as torch did; or None."""
    if (found := prepared(source)) is None:
        return None
    try:
        run = _openvino(found.content)
        for k, pixels in enumerate(probes(source.side)):
            outputs = run(pixels)
            if not all(_close(outputs[name][:, ::EVERY], wanted) for name, wanted in found.expected[k].items()):
                return None
    except (NotExportableError, RuntimeError):
        return None  # the export meets the same engine, and says what is wrong
    return found.content, found.record


def _by_torch(source: Source, cache: Path) -> tuple[bytes, dict[str, Any]]:
    import torch

    from headstart.backbone.network import load_network

    network = load_network(source, cache)
    record = record_of(source)
    with torch.inference_mode(False), torch.no_grad():
        content = onnx_bytes(network, record)
    check(content, network)
    return content, record


def onnx_bytes(network: Any, record: dict[str, Any]) -> bytes:
    """`network` as the bytes of an ONNX file: input `images` uint8 `(n, side, side, 3)`, `record` in its metadata.

    What torch's exporter cannot decompose (relative positions of MaxViT), or only with sequences that OpenVINO does not
    read (DINOv3), the older one traces. NotExportableError when neither can, MachineError when memory is short.
    """
    import logging

    import onnx

    from headstart.backbone.folding import folded

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    plain = folded(network)
    try:
        content = _exported(plain)
    except Exception as first:
        try:
            content = _traced(plain)
        except Exception as second:
            raise _failure(f"{_said(first)[:120]}; traced: {_said(second)[:120]}", first, second) from None
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {f"headstart.{key}": json.dumps(value) for key, value in record.items()})
    return bytes(model.SerializeToString())


def _said(error: Exception) -> str:
    """The first line of what `error`, or what caused it, says."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def _failure(reason: str, *errors: Exception) -> MachineError:
    """What to raise: only what would happen again on every machine makes a network one that cannot be exported."""
    passing = any(isinstance(error, MemoryError | OSError | ImportError) for error in errors)
    if passing or any(words in reason.lower() for words in _OUT_OF_MEMORY):
        return MachineError(f"the network could not be exported ({reason})")
    return NotExportableError(reason)


def _exported(plain: Any) -> bytes:
    """By torch.export. The initializers bear the names of the parameters."""
    import torch

    program = torch.onnx.export(
        plain,
        (_example(plain),),
        input_names=["images"],
        output_names=list(plain.output_names),
        dynamic_shapes={"images": {0: torch.export.Dim("n", min=1)}},
        dynamo=True,
        external_data=False,
        optimize=False,  # folding was ours; engines optimise again when they compile
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no graph")
    model = program.model_proto
    content = bytes(model.SerializeToString())
    if any("Sequence" in node.op_type for node in model.graph.node):
        from headstart.engine.openvino import OpenVinoEngine

        OpenVinoEngine(content)  # reads some sequences and refuses others
    return content


def _traced(plain: Any) -> bytes:
    """By tracing one batch. Constants are not folded and equal ones not merged: the initializers keep their names."""
    import io
    import warnings

    import torch

    found = io.BytesIO()
    plain.training = True  # of itself, not of its parts: else parameters of equal values would become one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its age, and of every constant that it bakes in
        torch.onnx.export(
            plain,
            (_example(plain),),
            found,
            input_names=["images"],
            output_names=list(plain.output_names),
            dynamic_axes={"images": {0: "n"}, **{name: {0: "n"} for name in plain.output_names}},
            dynamo=False,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            opset_version=18,
        )
    return found.getvalue()


def _example(plain: Any) -> Any:
    import torch

    return torch.zeros((2, plain.side, plain.side, 3), dtype=torch.uint8)


def check(graph: bytes, network: Any, run: Callable[[Pixels], Outputs] | None = None) -> None:
    """Compare `graph` with `network` in torch on noise and on smooth pictures at batch 1, 2 and 7.

    `run`: what runs the graph; OpenVINO in fp32 when None. Raises NotExportableError naming the output that differs, or
    with what OpenVINO says; MachineError when memory is short.
    """
    import torch

    run = run or _openvino(graph)
    for pixels in probes(network.side):
        with torch.no_grad():
            expected = network(torch.from_numpy(pixels))
        try:
            found = run(pixels)
        except RuntimeError as error:
            raise _failure(f"OpenVINO cannot run its graph: {_said(error)[:200]}", error) from None
        for name, tensor in zip(network.output_names, expected, strict=True):
            wanted = tensor.numpy()
            if name not in found or not _close(found[name], wanted):
                same = name in found and found[name].shape == wanted.shape
                difference = np.abs(found[name] - wanted).max() if same else np.inf
                raise NotExportableError(
                    f"its graph differs from torch: output {name}, batch {len(pixels)}, by {difference:.2g}"
                )


def _close(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= _TOLERANCE * np.abs(wanted).max())


def _openvino(graph: bytes) -> Callable[[Pixels], Outputs]:
    from headstart.engine.openvino import OpenVinoEngine

    try:
        return OpenVinoEngine(graph).run
    except RuntimeError as error:
        raise _failure(f"OpenVINO cannot compile its graph: {_said(error)[:200]}", error) from None


def probes(side: int) -> list[Pixels]:
    """Batches of 1, 2 and 7: smooth pictures like photographs, with noise of changing strength."""
    from PIL import Image

    rng = np.random.default_rng(7)

    def picture(noise: float) -> Pixels:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
        mixed = smooth * (1 - noise) + rng.integers(0, 256, smooth.shape) * noise
        return mixed.clip(0, 255).astype(np.uint8)

    return [np.stack([picture(i / max(1, n - 1)) for i in range(n)]) for n in (1, 2, 7)]


def record_of(source: Source) -> dict[str, Any]:
    import timm
    import torch

    return {
        "graph_version": GRAPH_VERSION,
        "backbone": source.name,
        "weights_sha256": source.sha256,
        "depths": dict(zip(source.depth_names, source.dims, strict=True)),
        "side": source.side,
        "classes": _classes(source),
        "made_by": {"torch": torch.__version__, "timm": timm.__version__},
    }


def _classes(source: Source) -> list[str]:
    """Names of what the discarded head knows, where its number of outputs tells which list it is."""
    from timm.data import ImageNetInfo

    subsets = {1000: "imagenet-1k", 11821: "imagenet-12k", 21841: "imagenet-22k", 21843: "imagenet-21k-goog"}
    if source.family != "timm" or source.shape.classes not in subsets:
        return []
    names = ImageNetInfo(subsets[source.shape.classes])
    return [names.index_to_description(i) for i in range(names.num_classes())]


def main(arguments: list[str]) -> int:
    """Export; a failure is one line on stderr and an exit code."""
    name, cache = arguments
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here may look at the network
    # The main process decodes beside us: a second torch thread would mostly spin (the check took 2.1 instead of 0.8 s).
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        export_graph(find_source(name, Path(cache)), Path(cache))
    except HeadstartError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except RuntimeError as error:  # of torch or the engine; its first line says what
        sys.stderr.write(f"{(str(error).strip().splitlines() or [repr(error)])[0]}\n")
        return MachineError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
