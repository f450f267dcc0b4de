"""20,000 generated JPEGs: memory over the run, and ten kills with SIGKILL at random moments.

    python benchmarks/endurance.py [--count 20000] [--kills 10]

First one undisturbed `fit` (graph cached), its memory sampled. Then, with a new cache, `fit` is killed at random
moments and started again until it ends. No picture may be in two shards of the cache (so none that a finished shard
holds was computed again), no shard may change or vanish, and classifier and result must equal the undisturbed run's.
About 15 minutes, and half a minute to generate the pictures.
"""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import time

import child
import headstart_fit
import pictures
import quiet
import record
import same_run
import shards

PHASES = ("scan", "embed", "probe", "finish", "judge")  # in the order of a run


def main():
    parser = record.arguments(__doc__, needs_sets=False)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--megapixels", type=float, default=0.08)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    kept = record.Record("endurance", f"{a.count} generated pictures: memory, and {a.kills} kills", a)
    work = a.work / f"endurance-{a.count}"
    data = pictures.generate(work / "pictures", a.count, a.megapixels)
    other = pictures.generate(work / "pictures-other", 70, a.megapixels, seed=1)
    if not kept.runs(kind="undisturbed"):
        quiet.wait_until_quiet(kept, patience=10)  # memory and kills, not seconds, are the point here
        env = child.environment(work / "home", headstart_fit.fresh_cache(work, other))
        done, result = headstart_fit.fit(data, work / "run-undisturbed", env)
        figures = {**done.figures(), **memory(done, result["seconds"])}
        kept.add(kind="undisturbed", **figures, embedding=result["embedding"], seconds=result["seconds"])
    kill_again_and_again(kept, data, work, other, a)
    if not kept.runs(kind="last"):
        before = shards.pictures(work / "cache")
        code, _ = attempt(data, work, None)
        result = json.loads((work / "run-killed" / "result.json").read_text())
        facts = {k: result["embedding"][k] for k in ("computed", "cached")}
        kept.add(kind="last", code=code, before=before, **facts, **shards.check(work))
    summarise(kept, work, a)


def memory(done, seconds):
    """Resident MB: at 5 to 10 % of the embed phase (everything is running by then), and the peak of every phase."""
    ends, end = {}, done.wall
    for phase in reversed(PHASES):
        ends[phase] = end
        end -= seconds[phase]
    begin = ends["embed"] - seconds["embed"]
    steady = [m for t, m in done.samples if 0.05 <= (t - begin) / seconds["embed"] <= 0.10]
    peaks = {p: max((m for t, m in done.samples if ends[p] - seconds[p] < t <= ends[p]), default=None) for p in PHASES}
    thin = max(1, len(done.samples) // 200)
    series = [(round(t, 1), round(m)) for t, m in done.samples[::thin]]
    return {"baseline_mb": statistics.median(steady), "peaks": peaks, "memory": series}


def kill_again_and_again(kept, data, work, other, a):
    """Kills until `--kills` of them hit a running process; the last three aim at what follows the embed phase."""
    calm = kept.runs(kind="undisturbed")[0]["seconds"]
    if not kept.runs(kind="killed"):
        headstart_fit.fresh_cache(work, other)
        shards.forget(work)
        shutil.rmtree(work / "run-killed", ignore_errors=True)
    while (k := len(kept.runs(kind="killed"))) < a.kills:
        early = len(kept.runs(kind="ended before the kill"))
        if early > 3 * a.kills:
            raise SystemExit("fit ends before it can be killed: give a larger --count")
        draw = random.Random(f"{a.seed} {k} {early}")
        rest = calm["total"] - calm["embed"]
        reach = 1.0 + (rest + 0.1 * calm["embed"] if k >= a.kills - 3 else 0.2 * calm["total"])
        delay = draw.uniform(0.5, reach)
        code, lasted = attempt(data, work, delay)
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"fit ended with {code} after kill {k}: see {work / 'attempt.log'}")
        kind = "killed" if code else "ended before the kill"
        kept.add(kind=kind, after=lasted, **shards.check(work), answer=(work / "run-killed" / "classifier").exists())


def attempt(data, work, delay):
    """Start `fit` and kill it after `delay` seconds (None: let it end); (exit code, seconds it lasted)."""
    run = work / "run-killed"
    flag = "--overwrite" if (run / "result.json").exists() else "--resume"
    env = child.environment(work / "home", work / "cache")
    command = [*child.HEADSTART, "fit", str(data), "--out", str(run), "--train", "head", flag]
    with (work / "attempt.log").open("wb") as log:
        start = time.monotonic()
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            code = process.wait(timeout=delay if delay is not None else 3600.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
    if delay is None and code != 0:
        raise SystemExit(f"the last fit ended with {code}:\n{(work / 'attempt.log').read_text()[-2000:]}")
    return code, time.monotonic() - start


def summarise(kept, work, a):
    calm, last = kept.runs(kind="undisturbed")[0], kept.runs(kind="last")[0]
    peaks = {phase: peak for phase, peak in calm["peaks"].items() if peak is not None}
    growth = max(peaks.values()) - calm["baseline_mb"]
    checked = [*kept.runs(kind="killed"), *kept.runs(kind="ended before the kill"), last]
    kept.target("growth of resident memory over the run, MB", growth, at_most=300)
    kept.target("growth during the embed phase alone, MB", peaks["embed"] - calm["baseline_mb"], at_most=300)
    kept.target("kills that hit a running process", len(kept.runs(kind="killed")), at_least=a.kills)
    kept.target("pictures that are in more than one shard", last["repeated"], at_most=0)
    kept.target("finished shards that changed or vanished", sum(r["changed"] for r in checked), at_most=0)
    again = last["computed"] + last["before"] - a.count
    kept.target("pictures the last fit computed although a shard held them", again, at_most=0)
    different = same_run.differences(work / "run-undisturbed", work / "run-killed")
    kept.target("differences between the killed and the undisturbed run", len(different), at_most=0)
    for line in different:
        kept.note(f"differs: {line}")
    row = (calm["wall"], calm["baseline_mb"], *peaks.values())
    kills = [(i, r["kind"], r.get("after"), r["shards"], r["pictures"]) for i, r in enumerate(checked)]
    tables = [
        ("Undisturbed, resident MB", ("wall s", "baseline", *(f"peak in {p}" for p in peaks)), [row]),
        ("Attempts", ("attempt", "how it ended", "seconds", "shards", "pictures in them"), kills),
    ]
    kept.finish({"pictures": a.count, "kills": a.kills}, {"growth_mb": growth, "differences": different}, tables)


if __name__ == "__main__":
    main()
