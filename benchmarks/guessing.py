"""Shuffled labels: does `fit` say that it is no better than guessing, however much it tried to train?

    python benchmarks/guessing.py --sets SETS [--budget 2m] [--only nature elpv digits8]

The training part of each set with its labels permuted. Must be: only a new head is kept, the finding
`no_better_than_guessing` is there, and the sentence says so. Some 6 minutes at two minutes each.
"""

import csv

import child
import headstart_fit
import numpy as np
import record


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--only", nargs="+", default=["nature", "elpv", "digits8"])
    a = parser.parse_args()
    kept = record.Record("guessing", "shuffled labels: no better than guessing", a)
    work = a.work / "guessing"
    work.mkdir(parents=True, exist_ok=True)
    for name in a.only:
        if not kept.runs(set=name):
            kept.add(**one_run(shuffled(a.sets / name / "train", work / f"{name}.csv"), name, a.budget, work))
    runs = kept.runs()
    kept.target("sets where it says so", sum(r["said"] for r in runs), at_least=len(runs))
    kept.target("sets where more than a head was trained", sum(r["train"] != "head" for r in runs), at_most=0)
    header = ("set", "says so", "trained", "raced", "top-1", "most frequent class", "sentence")
    rows = [tuple(r[k] for k in ("set", "said", "train", "raced", "top1", "baseline", "why")) for r in runs]
    kept.finish({"sets": len(runs)}, {}, [("Runs", header, rows)])


def shuffled(folder, table):
    """A manifest of `folder` with its labels permuted."""
    pictures = sorted(p for p in folder.glob("*/*") if p.is_file())
    labels = np.random.default_rng(0).permutation([p.parent.name for p in pictures])
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows(zip(map(str, pictures), labels, strict=True))
    return table


def one_run(table, name, budget, work):
    """One `fit` and what it says."""
    env = child.environment(work / "home", work / "cache")
    done, result = headstart_fit.fit(table, work / "run", env, "--train", "auto", "--budget", budget)
    found = {f["code"] for f in result["findings"]}
    why = result["decision"]["why"]
    return {
        "set": name,
        "said": "no_better_than_guessing" in found and "guessing" in why,
        "train": result["decision"]["train"],
        "raced": sum(c["train"] != "head" and c["top1"] is not None for c in result["candidates"]),
        "top1": result["accuracy"]["top1"],
        "baseline": result["accuracy"]["baseline"],
        "why": why,
        "findings": sorted(found),
        **done.figures(),
    }


if __name__ == "__main__":
    main()
