"""`headstart predict` of 10,000 pictures beside the embed phase of `fit` on the same pictures: is it as fast?

    python benchmarks/predict_many.py --sets SETS [--rounds 2]

Both end to end on the same generated JPEGs, in turns: pictures a second of `predict --csv` (whole process, start
included) over pictures a second of `fit`'s pass (its own wall seconds, graph cached, no embedding cached). About three
minutes a round.
"""

import csv
import os
import shutil

import child
import headstart_fit
import pictures
import quiet
import record

FIGURES = ("ratio", "predict_rate", "embed_rate", "predict_wall", "predict_busy", "predict_peak_mb")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--count", type=int, default=10_000, help="generated pictures [%(default)s]")
    parser.add_argument("--megapixels", type=float, default=0.08)
    parser.add_argument("--other", default="nature", help="data set of the classifier [%(default)s]")
    a = parser.parse_args()
    kept = record.Record("predict-many", f"predict of {a.count:,} pictures beside the embed phase of fit", a)
    work = a.work / "predict-many"
    work.mkdir(parents=True, exist_ok=True)
    data = pictures.generate(work / f"pictures-{a.count}-{a.megapixels:g}", a.count, a.megapixels)
    for k in range(a.rounds):
        if not kept.runs(round=k):
            headstart_fit.graph_cache(work, a.sets / a.other)
            load = quiet.wait_until_quiet(kept)
            kept.add(round=k, load_before=load, **one_round(data, work, a))
    values = {f: record.spread([r[f] for r in kept.runs()]) for f in FIGURES}
    kept.target("pictures a second, predict / embed phase", values["ratio"]["median"], at_least=0.95)
    kept.target("pictures without an answer", max(r["missing"] for r in kept.runs()), at_most=0)
    kept.note("predict_busy: CPU seconds of the process over cores x wall; predict_peak_mb: the process at its largest")
    rows = [(f, record.span(values[f])) for f in FIGURES]
    kept.finish({"rounds": a.rounds}, values, [(f"{a.count:,} pictures", ("figure", "median (low-high)"), rows)])


def one_round(data, work, a):
    """One `fit`, one `predict`; the classifier is of `other`, so that nothing is known of the pictures."""
    env = child.environment(work / "home", headstart_fit.fresh_cache(work, a.sets / a.other))
    run, answers = work / f"run-{a.other}", work / "answers.csv"
    if not (run / "result.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        child.run([*child.HEADSTART, "fit", a.sets / a.other, "--out", run, "--train", "head"], env)
    told = child.run([*child.HEADSTART, "predict", run, data, "--csv", answers], env)
    with answers.open(encoding="utf-8", newline="") as file:
        known = sum(1 for row in csv.DictReader(file) if row["class"] and not row["error"])
    fitted, result = headstart_fit.fit(data, work / "run", env)
    facts = result["embedding"]
    if facts["cached"]:
        raise SystemExit(f"{facts['cached']} pictures came from the cache: nothing was measured")
    predicting, embedding = a.count / told.wall, facts["computed"] / facts["wall"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "ratio": predicting / embedding,
        "predict_rate": predicting,
        "embed_rate": embedding,
        "predict_wall": told.wall,
        "predict_busy": told.cpu / (cores * told.wall),
        "predict_peak_mb": told.peak_mb,
        "missing": a.count - known,
        "foreign": max(told.foreign, fitted.foreign),
    }


if __name__ == "__main__":
    main()
