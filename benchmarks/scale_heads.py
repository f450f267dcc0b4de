"""Heads from part files: seconds, peak memory, and accuracy on generated embeddings whose best possible one is known.

Rows are normal around a centre per class, at two depths (320 and 1,280 columns, mixed and unequally scaled), sorted by
class as a folder of classes is, with 5 % wrong labels; `bayes` is the accuracy of who knows the centres, on the same
rows. Every size is a folder of part files (4.3 GB a million rows) and a process of its own; a second command goes on
where a stopped one was. The largest process is what must not grow with the number of rows.
"""

import json
import resource
import shutil
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import child
import numpy as np
from record import Record, arguments

DEPTHS = (("block6", 320), ("last", 1280))
STRENGTH = {"block6": 0.12, "last": 0.085}
CLASSES, WRONG, ROWS_PER_CHUNK = 20, 0.05, 4096
MEMORY_MB = 3000  # what the process may take, whatever the number of rows
BEHIND = 0.005  # of the best possible accuracy, at a million rows


class World:
    """Where rows come from; the same whoever asks."""

    def __init__(self):
        rng = np.random.default_rng(8)
        self.centres = {name: rng.normal(size=(CLASSES, dim)) * STRENGTH[name] for name, dim in DEPTHS}
        self.mix, self.scale = {}, {}
        for name, dim in DEPTHS:
            self.mix[name] = (np.eye(dim) + rng.normal(size=(dim, dim)) * 0.7 / np.sqrt(dim)).astype(np.float32)
            self.scale[name] = np.exp(rng.normal(size=dim)).astype(np.float32)

    def rows(self, first, count, total):
        """Vectors, labels, and how many of the rows who knows the centres gets right."""
        rng = np.random.default_rng([8, first])
        true = (np.arange(first, first + count) * CLASSES // total).astype(np.int64)
        labels = np.where(rng.random(count) < WRONG, rng.integers(0, CLASSES, count), true)
        vectors, score = {}, 0.0
        for name, dim in DEPTHS:
            z = rng.standard_normal((count, dim), np.float32) + self.centres[name][true].astype(np.float32)
            centres = self.centres[name]
            score = score + z @ centres.T - (centres**2).sum(axis=1) / 2
            vectors[name] = ((z @ self.mix[name]) * self.scale[name] + 1.0).astype(np.float16)
        return vectors, labels, int((score.argmax(axis=1) == labels).sum())


def generate(folder, total):
    """The embedded folder of `total` rows; what is there stays. The best possible accuracy."""
    from headstart.embedding.columns import empty_columns
    from headstart.images.preprocess import Preprocessing
    from headstart.scaling.ledger import Ledger
    from headstart.scaling.manifest import write_manifest
    from headstart.scaling.part import part_path, write_part
    from headstart.scaling.spec import NAME, Spec, write_spec

    world, kept = World(), folder / "bayes.json"
    if not (folder / NAME).exists():
        folder.mkdir(parents=True, exist_ok=True)
        listed = (
            (f"/generated/{i:012d}.jpg", f"class {label:02d}", None)
            for first in range(0, total, ROWS_PER_CHUNK)
            for i, label in enumerate(
                world_labels(world, first, min(ROWS_PER_CHUNK, total - first), total).tolist(), start=first
            )
        )
        manifest = write_manifest(folder, listed, ROWS_PER_CHUNK)
        facts = dict(rows=manifest.count, manifest_sha256=manifest.sha256, classes=manifest.classes)
        write_spec(
            folder,
            Spec("generated", "k", "w", Preprocessing().to_json(), DEPTHS, "cpu", 2, 1, ROWS_PER_CHUNK, **facts),
        )
        manifest.close()
    ledger = Ledger(folder)
    (folder / "parts").mkdir(exist_ok=True)
    right = json.loads(kept.read_text()) if kept.exists() else {}
    for chunk in ledger.pending():
        vectors, _, right[chunk.id] = world.rows(chunk.first, chunk.count, total)
        columns = empty_columns(chunk.count, ledger.spec.depth_list())
        numbers = np.arange(chunk.first, chunk.first + chunk.count, dtype=np.uint64)
        columns["pixel_hash"][:, :8] = (numbers * np.uint64(0x9E3779B97F4A7C15)).view(np.uint8).reshape(-1, 8)
        columns |= {f"vector.{name}": rows for name, rows in vectors.items()}
        rows = ledger.manifest.rows(chunk.first, chunk.count)
        kept.write_text(json.dumps(right))
        write_part(part_path(folder, chunk.id), chunk, rows, columns, [None] * chunk.count, ledger.spec)
    if ledger.success() is None:
        ledger.verify()
    return sum(right.values()) / total


def world_labels(world, first, count, total):
    """Only the labels of `World.rows`, by the same draws."""
    rng = np.random.default_rng([8, first])
    true = (np.arange(first, first + count) * CLASSES // total).astype(np.int64)
    return np.where(rng.random(count) < WRONG, rng.integers(0, CLASSES, count), true)


class Phases:
    """Seconds per pass."""

    def __init__(self):
        self.found, self._name, self._began = {}, None, time.perf_counter()

    def start(self, phase, total=None):
        now = time.perf_counter()
        if self._name is not None:
            self.found[self._name] = self.found.get(self._name, 0.0) + now - self._began
        self._name, self._began = phase, now
        print(phase, file=sys.stderr, flush=True)

    def update(self, done):
        pass

    def say(self, line):
        print(line, file=sys.stderr, flush=True)


def heads(folder):
    """What `fit` does with a folder that does not fit into memory, up to the classifier; one JSON line."""
    from headstart.howmuch.stream_probe import probe_stream
    from headstart.outofcore import rows_of, stream_of
    from headstart.scaling.vectors import Vectors

    phases, began = Phases(), time.perf_counter()
    rows = rows_of(Vectors(folder), 0, phases)
    found = probe_stream(stream_of(rows), 0, phases)
    seconds = time.perf_counter() - began
    phases.start("end")
    probe, judged = found.probe, found.judged
    figures = {"top1": judged.top1, "low": judged.low, "high": judged.high, "nll": judged.nll, "ece": judged.ece}
    best = min((c for c in probe.candidates if c.kind != "logistic"), key=lambda c: c.nll)
    print(
        json.dumps(
            {
                **figures, "depths": "+".join(probe.chosen.names), "kind": probe.chosen.kind,
                "closed_top1": best.top1, "closed_nll": best.nll, "last_top1": probe.reference.top1,
                "epochs": found.epochs, "heads": seconds, "phases": phases.found,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )  # fmt: skip


def main():
    parser = arguments(__doc__, needs_sets=False)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--child", type=Path, help="(the measured process)")
    parsed = parser.parse_args()
    if parsed.child is not None:
        heads(parsed.child)
        return
    del parsed.child
    record = Record("scale-heads", "Heads from part files: memory and accuracy", parsed)
    for total in parsed.rows:
        if record.runs(rows=total):
            continue
        folder = parsed.work / f"scale-heads-{total}"
        began = time.perf_counter()
        bayes = generate(folder, total)
        generated = time.perf_counter() - began
        done = child.run([child.PYTHON, __file__, "--child", folder], timeout=8 * 3600)
        found = json.loads(done.stdout)
        vectors_mb = 2e-6 * total * sum(dim for _, dim in DEPTHS)
        record.add(rows=total, bayes=bayes, **found, vectors_mb=vectors_mb, generate=generated, foreign=done.foreign)
        shutil.rmtree(folder)
    runs = record.content["runs"]
    for run in runs:
        record.target(f"peak memory (MB) at {run['rows']} rows", run["peak_mb"], at_most=MEMORY_MB)
    largest = max(runs, key=lambda run: run["rows"])
    record.target("behind the best possible accuracy", largest["bayes"] - largest["top1"], at_most=BEHIND)
    header = (
        "rows",
        "vectors MB",
        "peak MB",
        "seconds",
        "best possible",
        "out of fold",
        "closed form",
        "kind",
        "depths",
    )
    table = [
        (r["rows"], r["vectors_mb"], r["peak_mb"], r["heads"], r["bayes"], r["top1"], r["closed_top1"], r["kind"],
         r["depths"]) for r in runs
    ]  # fmt: skip
    passes = [(r["rows"], *(f"{name} {seconds:.0f}" for name, seconds in r["phases"].items())) for r in runs]
    width = max(len(row) for row in passes)
    passes = [(*row, *[""] * (width - len(row))) for row in passes]
    record.note("on a busy machine; seconds are no measurement of speed" if any((r["foreign"] or 0) > 0.1 for r in runs)
                else "nothing else ran")  # fmt: skip
    record.finish(
        {"sizes": len(runs)},
        {str(r["rows"]): {k: r[k] for k in ("top1", "bayes", "peak_mb", "heads")} for r in runs},
        [("Sizes", header, table), ("Seconds per pass", ("rows", *["pass"] * (width - 1)), passes)],
    )


if __name__ == "__main__":
    main()
