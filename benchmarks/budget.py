"""Does `fit` keep to its budget? Every set at several budgets, whole processes, embeddings cached nowhere.

    python benchmarks/budget.py --sets SETS [--budgets 30 120 300] [--only elpv nature]

Must be: wall <= max(1.1 x budget, time of answer A + 5 s). The network's graph is ready (an earlier data set), the
pictures are new. With every set and budget some 50 minutes; only on a machine with nothing else running.
"""

import json

import child
import headstart_fit
import quiet
import record

SETS = ("nature", "gcompris", "elpv", "emoji_subgroup", "mnist5k", "digits8")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--budgets", type=int, nargs="+", default=[30, 120, 300])
    parser.add_argument("--only", nargs="+", default=list(SETS))
    a = parser.parse_args()
    kept = record.Record("budget", "fit: wall seconds against the budget", a)
    work = a.work / "budget"
    work.mkdir(parents=True, exist_ok=True)
    for budget in a.budgets:
        for name in a.only:
            if not kept.runs(set=name, budget=budget):
                kept.add(load_before=quiet.wait_until_quiet(kept), **one_run(a.sets, name, budget, work))
    runs = kept.runs()
    for r in runs:
        kept.target(f"{r['set']}, {r['budget']} s: wall, seconds", r["wall"], at_most=r["limit"])
    header = ("set", "budget", "wall", "may be", "answer A", "raced", "trained", "error of predicted costs", "foreign")
    rows = [
        (r["set"], r["budget"], r["wall"], r["limit"], r["answer"], r["raced"], r["train"], r["error"], r["foreign"])
        for r in runs
    ]
    kept.finish({"sets": len(a.only)}, {"worst": max(r["wall"] / r["limit"] for r in runs)}, [("Runs", header, rows)])


def one_run(sets, name, budget, work):
    """One `fit`: wall, when answer A was saved, what was raced and chosen."""
    other = sets / ("digits8" if name == "nature" else "nature")
    env = child.environment(work / "home", headstart_fit.fresh_cache(work, other))
    run = work / "run"
    done, result = headstart_fit.fit(sets / name, run, env, "--train", "auto", "--budget", f"{budget}s")
    answer = answer_seconds(run, result)
    raced = [c for c in result["candidates"] if c["train"] != "head" and c["top1"] is not None]
    return {
        "set": name,
        "budget": budget,
        "answer": answer,
        "limit": max(1.1 * budget, answer + 5.0),
        "raced": len(raced),
        "train": result["decision"]["train"],
        "backbone": result["decision"]["backbone"],
        "ended": result["race"]["ended"],
        "error": result["race"]["prediction_error"],
        "seconds": result["seconds"],
        **done.figures(),
    }


def answer_seconds(run, result):
    """Seconds from the start of the process to the first saved classifier."""
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    saved = next(e["time"] for e in events if e["event"] == "saved")
    done = next(e["time"] for e in events if e["event"] == "done")
    return result["seconds"]["total"] - (done - saved)


if __name__ == "__main__":
    main()
