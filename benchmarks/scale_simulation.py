"""Embed 100 million pictures that do not exist: the real manifest, ledger, driver and check around a faked engine.

Parts are tiny (ids and the footer that makes them valid; 256 GB of vectors are not written), one chunk in a hundred
crashes its worker, the driver is interrupted twice. Shown: every id once, seconds, and the driver's largest memory.
"""

import json
import os
import random
import resource
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests")]

from record import Record, arguments

ROWS_PER_CHUNK = 4096
MEMORY = 500e6  # bytes the driver may take at most


def rows(count):
    """Places as long as those of a real store."""
    for i in range(count):
        yield f"s3://a-bucket-of-pictures/2026/{i // 10000:06d}/{i:012d}.jpg", f"class {i % 1000}", None


class SimulatedBackend:
    """Workers as threads: read the chunk's rows, crash now and then, write a part of ids only."""

    def __init__(self, seed, crash, stop_after=None):
        self.random, self.crash, self.stop_after = random.Random(seed), crash, stop_after
        self.crashes = self.done = 0
        self._lock = threading.Lock()

    def work(self, folder, chunks, told):
        from headstart.scaling.ledger import Ledger

        ledger = Ledger(folder)
        for start in range(0, len(chunks), 256):
            with ThreadPoolExecutor(4) as pool:
                for done in pool.map(lambda chunk: self._run(ledger, chunk), chunks[start : start + 256]):
                    told(done)
                    self.done += 1
                    if self.done == self.stop_after:
                        raise KeyboardInterrupt

    def _run(self, ledger, chunk):
        from headstart.scaling.worker import Done

        while self._crashes():
            ledger.crashed(chunk.id, "simulated")
        with self._lock:  # a Parquet file is no place for several threads
            read = ledger.manifest.rows(chunk.first, chunk.count)
        assert len(read) == chunk.count and read.first == chunk.first
        checksum = tiny_part(ledger, chunk)
        ledger.settled(chunk.id)
        return Done(chunk.id, chunk.count, 0, checksum, 0.0)

    def _crashes(self):
        with self._lock:
            crashed = self.random.random() < self.crash
            self.crashes += crashed
            return crashed


def tiny_part(ledger, chunk):
    """A part that the cheap check takes for whole: ids, and the footer of a real one."""
    import hashlib
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    from headstart.cache_folder import write_to_cache
    from headstart.scaling.part import part_path

    checksum = hashlib.sha256(chunk.id.encode()).hexdigest()
    facts = {"version": "1", "chunk": chunk.id, "spec": ledger.spec.hash, "sha256": checksum}
    facts |= {"ok": chunk.count, "bad": 0, "quarantined": 0}
    table = pa.table({"id": pa.array(range(chunk.first, chunk.first + chunk.count), pa.int64())})
    held = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({"headstart": json.dumps(facts)}), held, use_dictionary=False,
        column_encoding={"id": "DELTA_BINARY_PACKED"}, write_statistics=False,
    )  # fmt: skip
    write_to_cache(part_path(ledger.folder, chunk.id), held.getvalue())
    return checksum


def every_id_once(folder, count):
    """Whether the ids of all parts are 0 .. count - 1, each once."""
    import numpy as np
    import pyarrow.parquet as pq

    seen = np.zeros(count, np.uint8)
    for path in (folder / "parts").iterdir():
        np.add.at(seen, pq.ParquetFile(path).read().column("id").to_numpy(), 1)
    return bool((seen == 1).all())


def peak():
    """Largest resident memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident():
    """Resident memory of this process now, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def drive(folder, parsed):
    """Begin, be interrupted twice, finish: seconds of each step and what was counted."""
    from fake_embedders import fake_spec
    from headstart.scaling import embed
    from headstart.scaling.manifest import write_manifest
    from headstart.scaling.spec import write_spec

    start = time.perf_counter()
    manifest = write_manifest(folder, rows(parsed.images), ROWS_PER_CHUNK)
    chunks = len(manifest.digests)
    write_spec(folder, fake_spec(manifest))
    manifest.close()
    out = {"chunks": chunks, "manifest_seconds": round(time.perf_counter() - start, 1)}
    # Parts here hold ids only, so the check at the end is the cheap one (footers); everything else is as it is.
    whole = embed.Ledger.verify
    embed.Ledger.verify = lambda ledger, told=None: whole(ledger, told, full=False)
    start, crashes, done = time.perf_counter(), 0, 0
    for seed, stop_after in enumerate((chunks // 3, chunks // 3, None)):
        backend = SimulatedBackend(seed, parsed.crash, stop_after)
        with suppress(KeyboardInterrupt):
            counts = embed.finish_folder(folder, backend)
        crashes, done = crashes + backend.crashes, done + backend.done
    out |= {"drive_seconds": round(time.perf_counter() - start, 1), "crashes": crashes, "told": done}
    return out | {"rows": counts.rows, "ok": counts.ok, "peak_bytes": peak(), "resident_bytes": resident()}


def main():
    parser = arguments(__doc__, needs_sets=False)
    parser.add_argument("--images", type=int, default=100_000_000)
    parser.add_argument("--crash", type=float, default=0.01, help="share of chunks whose worker crashes [%(default)s]")
    parsed = parser.parse_args()
    record = Record("scale-simulation", "A hundred million pictures that do not exist", parsed)
    folder = parsed.work / "scale-simulation"
    shutil.rmtree(folder, ignore_errors=True)
    run = drive(folder, parsed)
    run["every_id_once"] = every_id_once(folder, parsed.images)
    record.add(**run)
    record.note("A faked engine and tiny parts: this proves the bookkeeping and its memory, not throughput.")
    record.target("every id once (1: yes)", int(run["every_id_once"]), at_least=1)
    record.target("driver memory, bytes", run["peak_bytes"], at_most=MEMORY)
    record.finish({"pictures": parsed.images}, run)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
