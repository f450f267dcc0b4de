"""One process of engine_peak.py: this machine's fp32 peak and bandwidth and one network, in turns; JSON on stdout.

    python benchmarks/engine_steps.py NAME TURNS SECONDS

NAME: a backbone. SECONDS: of every measurement. Last comes the time of every layer, from the engine's own profile.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from engine_layers import Graph

from headstart.backbone.backbone import open_backbone
from headstart.engine.choose import measure
from headstart.engine.cores import usable_cores
from headstart.engine.openvino import OpenVinoEngine, import_openvino

SIDES = (512, 1024, 2048)  # of the square matrices
SETS = tuple(2**k for k in (17, 19, 21, 23, 25, 28))  # bytes that a core reads and writes again and again
SETTINGS = ("INFERENCE_PRECISION_HINT", "NUM_STREAMS", "INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING")
OTHER = "no arithmetic"  # moves, conversions
EVERY = 4  # calls of which one is looked at: asking takes time as well


def main(name, turns, seconds):
    backbone = open_backbone(name)
    path = backbone.graph()
    engine = OpenVinoEngine(path)
    graph = Graph(path, engine.batch)
    like = {key: engine._compiled.get_property(key) for key in SETTINGS}  # what the product measures is measured
    products = {f"engine {side}": EngineProduct(side, like) for side in SIDES}
    products |= {f"numpy {side}": NumpyProduct(side) for side in SIDES}
    streams, side = int(like["NUM_STREAMS"]), engine.side
    show(what="graph", name=name, side=side, ops=graph.ops, batch=engine.batch, streams=streams, bytes=weights(path))
    for _ in range(turns):
        peak = {which: product.rate(seconds / 3) for which, product in products.items()}
        bandwidth = {size: moved(size, seconds / 3) for size in SETS}
        show(what="turn", peak=peak, bandwidth=bandwidth, rate=measure(engine, seconds))
    show(what="layers", layers=layers(path, graph, like, side, seconds * turns))


def show(**figures):
    print(json.dumps(figures), flush=True)


def weights(path):
    """Bytes of the file, which is the weights and little else."""
    return path.stat().st_size


class EngineProduct:
    """Square matrix products through the engine, compiled as it compiles networks."""

    def __init__(self, side, like):
        openvino = import_openvino()
        from openvino import opset13

        rng = np.random.default_rng(0)
        rows = opset13.parameter([side, side], np.float32)
        columns = opset13.constant(rng.standard_normal((side, side), np.float32))
        model = openvino.Model([opset13.matmul(rows, columns, False, False)], [rows], "product")
        self._compiled = openvino.Core().compile_model(model, "CPU", like)
        self._rows, self._ops = rng.standard_normal((side, side), np.float32), 2.0 * side**3

    def rate(self, seconds):
        """Operations a second, all cores."""
        return self._ops * calls(self._compiled, self._rows, seconds)


class NumpyProduct:
    """The same through the BLAS of numpy."""

    def __init__(self, side):
        rng = np.random.default_rng(0)
        self._pair = [rng.standard_normal((side, side), np.float32) for _ in range(2)]
        self._out, self._ops = np.empty((side, side), np.float32), 2.0 * side**3

    def rate(self, seconds):
        np.matmul(*self._pair, out=self._out)
        start, done = time.perf_counter(), 0
        while (lasted := time.perf_counter() - start) < seconds:
            np.matmul(*self._pair, out=self._out)
            done += 1
        return self._ops * done / lasted


def calls(compiled, inputs, seconds, look=None):
    """Calls a second with one request per stream and one waiting, as the engine does; `look` sees some of them."""
    waiting = int(compiled.get_property("NUM_STREAMS")) + 1
    requests = [compiled.create_infer_request() for _ in range(waiting)]
    for request in requests:
        request.infer([inputs], share_inputs=True)
    start, done = time.perf_counter(), 0
    for request in requests:
        request.start_async([inputs], share_inputs=True)
    while time.perf_counter() - start < seconds:
        request = requests[done % waiting]
        request.wait()
        done += 1
        if look is not None and done % EVERY == 0:
            look(request)
        request.start_async([inputs], share_inputs=True)
    for request in requests:
        request.wait()
    return (done + waiting) / (time.perf_counter() - start)


def moved(size, seconds):
    """Bytes a second, read and written, when every core doubles half of `size` bytes into the other half again.

    That is as fast as memory is. Many times are one call: the loop over them is numpy's, which holds no lock meanwhile.
    """
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        buffers = [_Buffers(size) for _ in range(cores)]
        for pair in buffers:
            pair.again(0.0)
        rates = list(pool.map(lambda pair: pair.again(seconds), buffers))
    return sum(rates)


class _Buffers:
    """One core's two buffers."""

    def __init__(self, size):
        numbers = size // 8
        self._times = max(1, 2**25 // size)
        strided = np.lib.stride_tricks.as_strided
        buffers = (np.ones(numbers, np.float32), np.empty(numbers, np.float32))
        self._from, self._to = (strided(b, (self._times, numbers), (0, 4)) for b in buffers)
        self._moved = 8 * numbers * self._times

    def again(self, seconds):
        start, moved = time.perf_counter(), 0
        while True:
            np.add(self._from, self._from, out=self._to)
            moved += self._moved
            if (lasted := time.perf_counter() - start) >= seconds:
                return moved / lasted


def layers(path, graph, like, side, seconds):
    """Every executed layer: kind, shape, operations, bytes and seconds per batch on one stream while all are busy."""
    core = import_openvino().Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {**like, "PERF_COUNT": True})
    spent, seen = {}, [0]

    def look(request):
        seen[0] += 1
        for layer in request.profiling_info:
            spent[layer.node_name] = spent.get(layer.node_name, 0.0) + layer.real_time.total_seconds()

    pixels = np.random.default_rng(0).integers(0, 256, (graph.batch, side, side, 3), dtype=np.uint8)
    calls(compiled, pixels, seconds, look)
    found, covered = [], set()
    for name, done_by, keys in executed(compiled, graph):
        covered |= keys
        kind, shape, ops, size = graph.work(keys) if keys else ("", "", 0.0, 0)
        taken = spent.get(name, 0.0) / seen[0]
        if ops or taken:
            facts = {"name": name, "kind": kind if ops or kind == "means" else OTHER, "shape": shape or done_by}
            found.append({**facts, "ops": ops, "bytes": size, "seconds": taken})
    if missing := graph.convolutions - covered:
        raise SystemExit(f"{len(missing)} layers were not found in what the engine executed, such as {min(missing)}")
    return found


def executed(compiled, graph):
    """(name, kind, keys of the nodes it stands for) of what the engine executes, after it joined and moved things."""
    for op in compiled.get_runtime_model().get_ordered_ops():
        facts = op.get_rt_info()
        names = str(facts["originalLayersNames"].astype(str)) if "originalLayersNames" in facts else ""
        kind = str(facts["layerType"].astype(str)) if "layerType" in facts else op.get_type_name()
        yield op.get_friendly_name(), kind, graph.keys(names.split(","))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
