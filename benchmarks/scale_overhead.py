"""What Ray costs on one machine: `embed --on ray` beside `embed --on local`, 20,000 small pictures, in turns.

Before that: one worker against two with an embedder that only sleeps, which shows that work is handed out in parallel.

    python benchmarks/scale_overhead.py [--rounds 3]

Counted from the moment when as many chunks are finished as there are workers, so without the start of Ray and of the
engines; both run one worker per core. Generates 20,000 small JPEGs once; about four minutes a round on two cores.
"""

import os
import shutil
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.append(str(TESTS))

import pictures
import quiet
import record

SLEEPING = 0.1  # seconds per picture


class Timed:
    """A backend that notes when each chunk was told."""

    def __init__(self, backend):
        self.backend, self.told = backend, []

    def work(self, folder, chunks, told):
        """See Backend."""

        def tell(done):
            self.told.append((time.perf_counter(), done.ok + done.bad))
            told(done)

        self.backend.work(folder, chunks, tell)

    def rate(self, workers):
        """Pictures a second after the first `workers` chunks."""
        begun = self.told[workers - 1][0]
        return sum(n for _, n in self.told[workers:]) / (self.told[-1][0] - begun)


def one_run(on, data, out, parsed):
    """Embed everything once."""
    from headstart.scaling.embed import embed_folder
    from headstart.scaling.local import LocalBackend
    from headstart.scaling.ray_backend import RayBackend
    from headstart.scaling.spec import Settings

    shutil.rmtree(out, ignore_errors=True)
    backend = Timed(LocalBackend() if on == "local" else RayBackend())
    start = time.perf_counter()
    settings = Settings(rows_per_chunk=parsed.rows, device="cpu")
    counts = embed_folder(data, out, backend, settings=settings)
    seconds = time.perf_counter() - start
    before = backend.told[0][0] - start
    return {
        "rate": backend.rate(os.cpu_count()), "seconds": seconds, "to_first_chunk": before, "ok": counts.ok,
        "parts_sha256": counts.parts_sha256,
    }  # fmt: skip


def sleeping(workers, work):
    """Pictures a second of a sleeping embedder on `workers` workers of Ray, after start-up."""
    from fake_embedders import begin, fake_pictures
    from headstart.scaling.ledger import Ledger
    from headstart.scaling.ray_backend import RayBackend

    folder = work / f"sleeping-{workers}"
    shutil.rmtree(folder, ignore_errors=True)
    begin(folder, fake_pictures(work / "sleeping-in", 100 * workers), 5)
    (folder / "parts").mkdir()
    given = {"PYTHONPATH": str(TESTS), "FAKE_SLEEP": str(SLEEPING)}
    backend = Timed(RayBackend("ray", workers, "fake_embedders:hashing", given))
    backend.work(folder, Ledger(folder).pending(), lambda _: None)
    return backend.rate(workers)


def main():
    parser = record.arguments(__doc__, needs_sets=False)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--megapixels", type=float, default=0.08)
    parser.add_argument("--rows", type=int, default=256, help="pictures per chunk [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3)
    parsed = parser.parse_args()
    os.environ["PYTHONPATH"] = str(TESTS)  # for the workers
    os.environ["RAY_ADDRESS"] = "local"  # one of its own, whatever runs here
    kept = record.Record("scale-overhead", "What Ray costs on one machine", parsed)
    work = parsed.work / "scale-overhead"
    data = pictures.generate(work / f"pictures-{parsed.count}-{parsed.megapixels:g}", parsed.count, parsed.megapixels)
    if not kept.runs(on="sleeping"):
        rates = {f"workers_{n}": sleeping(n, work) for n in (1, 2)}
        kept.add(on="sleeping", speedup=rates["workers_2"] / rates["workers_1"], **rates)
    for k in range(parsed.rounds):
        for on in ("local", "ray") if k % 2 == 0 else ("ray", "local"):
            if not kept.runs(on=on, round=k):
                load = quiet.wait_until_quiet(kept)
                kept.add(on=on, round=k, load_before=load, **one_run(on, data, work / on, parsed))
    ratios = [kept.runs(on="local", round=k)[0]["rate"] / kept.runs(on="ray", round=k)[0]["rate"] - 1
              for k in range(parsed.rounds)]  # fmt: skip
    overhead = record.spread(ratios)
    same = len({run["parts_sha256"] for run in kept.runs() if "parts_sha256" in run}) == 1
    speedup = kept.runs(on="sleeping")[0]["speedup"]
    kept.target("Ray: more time per picture after start-up, share", overhead["median"], at_most=0.25)
    kept.target("two workers against one, sleeping embedder, pictures a second", speedup, at_least=1.8)
    kept.target("all runs: the same parts (1: yes)", int(same), at_least=1)
    values = {on: {f: record.spread(r[f] for r in kept.runs(on=on)) for f in ("rate", "seconds", "to_first_chunk")}
              for on in ("local", "ray")}  # fmt: skip
    rows = [(on, *(record.span(values[on][f]) for f in values[on])) for on in values]
    table = ("Pictures a second after start-up, whole run, seconds to the first finished chunk",
             ("on", "rate", "seconds", "to first chunk"), rows)  # fmt: skip
    kept.finish(
        {"pictures": parsed.count, "rounds": parsed.rounds},
        {"overhead": overhead, "speedup": speedup, **values},
        [table],
    )
    for on in ("local", "ray"):
        shutil.rmtree(work / on, ignore_errors=True)


if __name__ == "__main__":
    main()
