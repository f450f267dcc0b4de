"""What more training reaches: mnist5k in ten minutes, and elpv on five random 75/25 splits of ten minutes each.

    python benchmarks/fine_tuned.py --sets SETS [--budget 10m] [--splits 5]

elpv's published figure is 88.42 % (fine-tuned VGG19, Deitsch et al. 2019, one 75/25 split). Every run is `fit` with
`--backbone auto --train auto`; test accuracy is that of the saved classifier. Some 65 minutes, resumable by split.
"""

import numpy as np
import record
import splits as elpv

PUBLISHED = 0.8842


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["mnist5k", "elpv"])
    a = parser.parse_args()
    kept = record.Record("fine-tuned", "what more training reaches within a budget", a)
    work = a.work / "fine-tuned"
    work.mkdir(parents=True, exist_ok=True)
    if "mnist5k" in a.only and not kept.runs(set="mnist5k"):
        kept.add(**mnist(a.sets / "mnist5k", a.budget, work))
    if "elpv" in a.only:
        pictures, rows = elpv.read_set(a.sets / "elpv")
        truth = np.array([elpv.elpv_split.class_name(row) for row in rows])
        for k in range(a.splits):
            if not kept.runs(set="elpv", split=k):
                train, test = elpv.elpv_split.train_and_test(rows, seed=k)
                how = ("--train", "auto", "--budget", a.budget)
                predicted, result = elpv.headstart(pictures, truth, train, test, work / f"split-{k}", how)
                kept.add(**figures("elpv", k, float((predicted == truth[test]).mean()), result))
    summarise(kept)


def mnist(folder, budget, work):
    """One `fit` on mnist5k; its test part is judged by fit itself, once, with the saved classifier."""
    import child
    import headstart_fit

    env = child.environment(work / "home", work / "cache")
    _, result = headstart_fit.fit(folder, work / "mnist", env, "--train", "auto", "--budget", budget)
    return figures("mnist5k", 0, result["test"]["top1"], result)


def figures(name, split, test, result):
    """What a record keeps of a run."""
    raced = {}
    for c in result["candidates"]:
        if c["top1"] is not None and c["train"] != "head":
            raced[c["train"]] = max(raced.get(c["train"], 0.0), c["top1"])
    return {
        "set": name,
        "split": split,
        "test": test,
        "expected": result["accuracy"]["top1"],
        "train": result["decision"]["train"],
        "backbone": result["decision"]["backbone"],
        "p_better": result["decision"]["p_better"],
        "raced": raced,
        "backbones": result["backbones"],
        "why": result["decision"]["why"],
        "seconds": result["seconds"],
        "foreign": None,
    }


def summarise(kept):
    runs = kept.runs()
    mnist5k, cells = ([r["test"] for r in runs if r["set"] == name] for name in ("mnist5k", "elpv"))
    if mnist5k:
        kept.target("mnist5k, test top-1", mnist5k[0], at_least=0.98)
    if cells:
        mean = float(np.mean(cells))
        kept.target(f"elpv, mean test top-1 of {len(cells)} splits", mean, at_least=0.86)
        kept.note(f"published, fine-tuned VGG19: {100 * PUBLISHED:.2f} %; here {100 * mean:.2f} %")
    header = ("set", "split", "test", "its own estimate", "trained", "backbone", "P(better)", "seconds", "why")
    rows = [
        (r["set"], r["split"], r["test"], r["expected"], r["train"], r["backbone"], r["p_better"],
         r["seconds"]["total"], r["why"])
        for r in runs
    ]  # fmt: skip
    kept.finish({"runs": len(runs)}, {"elpv": cells, "mnist5k": mnist5k}, [("Runs", header, rows)])


if __name__ == "__main__":
    main()
