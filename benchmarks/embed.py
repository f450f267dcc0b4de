"""The embed phase: how busy decoding and engine keep the cores, on solar cells and on 12-megapixel photographs.

    python benchmarks/embed.py --sets SETS [--rounds 3]

(decode + engine core-seconds) / (cores x wall), from the facts `fit` records of its one pass; graph cached, no
embedding cached. Beside it pictures a second and what the engine does alone. Generates 2,000 JPEGs of 12 megapixels
once (about 4 GB in --work, three minutes); then about two minutes a round.
"""

import child
import headstart_fit
import pictures
import quiet
import record

FIGURES = ("efficiency", "pictures_per_second", "wall", "decode", "engine", "wait")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=2000, help="generated pictures [%(default)s]")
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--set", default="elpv")
    parser.add_argument("--other", default="nature", help="data set that fills the graph cache [%(default)s]")
    a = parser.parse_args()
    kept = record.Record("embed", "Embed phase: share of the cores that decoding and engine use", a)
    work = a.work / "embed"
    work.mkdir(parents=True, exist_ok=True)
    large = f"{a.count} generated, {a.megapixels:g} megapixels"
    data = {a.set: a.sets / a.set, large: work / f"pictures-{a.count}-{a.megapixels:g}"}
    pictures.generate(data[large], a.count, a.megapixels)
    for k in range(a.rounds):
        for name, folder in data.items():
            if not kept.runs(set=name, round=k):
                headstart_fit.graph_cache(work, a.sets / a.other)
                load = quiet.wait_until_quiet(kept)
                kept.add(set=name, round=k, load_before=load, **one_run(folder, work, a.sets / a.other))
    summarise(kept, list(data), a.rounds)


def one_run(data, work, other):
    """What `fit` records about its embed phase."""
    env = child.environment(work / "home", headstart_fit.fresh_cache(work, other))
    done, result = headstart_fit.fit(data, work / "run", env)
    facts = result["embedding"]
    if facts["cached"]:
        raise SystemExit(f"{facts['cached']} pictures came from the cache: nothing was measured")
    times = {k: facts[k] for k in ("decode", "engine", "wall", "wait", "cores")}
    busy = (facts["decode"] + facts["engine"]) / (facts["cores"] * facts["wall"])
    rate = facts["computed"] / facts["wall"]
    own = {"efficiency": busy, "pictures_per_second": rate, "n": facts["computed"], **times}
    return {**own, "phase": result["seconds"]["embed"], "engine_alone": result["engine"], "foreign": done.foreign}


def summarise(kept, names, rounds):
    values = {n: {f: record.spread([r[f] for r in kept.runs(set=n)]) for f in FIGURES} for n in names}
    for name in names:
        kept.target(f"{name}: (decode + engine) / (cores x wall)", values[name]["efficiency"]["median"], at_least=0.9)
    rows = [(n, kept.runs(set=n)[0]["n"], *(record.span(values[n][f]) for f in FIGURES)) for n in names]
    header = ("pictures", "n", *(f"{f} median (low-high)" for f in FIGURES))
    kept.note("decode, engine: CPU core-seconds; wait: seconds the engine waited for pictures; wall: of the whole pass")
    kept.finish({"rounds": rounds}, values, [("Embed phase", header, rows)])


if __name__ == "__main__":
    main()
