"""elpv, five random 75/25 splits: accuracy of the expert's recipe against headstart, paired on the same test pictures.

    python benchmarks/splits.py --sets SETS

Split 0 is the set on disk; the others follow the same stratified recipe with other seeds. The expert's embeddings of
all 2,624 pictures are computed once, headstart's come from one cache; heads, penalties and depths are chosen anew in
every split. About 6 minutes.
"""

import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import child
import numpy as np
import paired
import record

sys.path.insert(0, str(record.HERE / "datasets"))
import elpv_split


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--splits", type=int, default=5)
    a = parser.parse_args()
    kept = record.Record("splits", "elpv: accuracy of the expert's recipe and of headstart on random splits", a)
    work = a.work / "splits"
    pictures, rows = read_set(a.sets / "elpv")
    truth = np.array([elpv_split.class_name(row) for row in rows])
    for k in range(a.splits):
        if kept.runs(split=k):
            continue
        train, test = elpv_split.train_and_test(rows, seed=k)
        if k == 0 and {pictures[i].parent.parent.name for i in test} != {"test"}:
            raise SystemExit(f"{a.sets / 'elpv'} is not what datasets/make_elpv.py writes")
        theirs = expert(pictures, truth, train, test, work) == truth[test]
        predicted, result = headstart(pictures, truth, train, test, work / f"split-{k}")
        ours = predicted == truth[test]
        gain, error = paired.difference(ours, theirs)
        kept.add(
            split=k,
            expert=float(theirs.mean()),
            headstart=float(ours.mean()),
            gain=gain,
            standard_error=error,
            expected=result["accuracy"]["top1"],
            depths=result["decision"]["depths"],
            right={"test": test.tolist(), "expert": _bits(theirs), "headstart": _bits(ours)},
        )
    summarise(kept, len(rows), a.splits)


def read_set(folder):
    """The pictures in the order of the package's labels.csv, and its rows."""
    spec = find_spec("elpv_dataset")
    if spec is None:
        raise SystemExit("pip install elpv-dataset (CC-BY-NC-SA-4.0): its labels.csv is needed for the strata")
    (labels,) = Path(spec.submodule_search_locations[0]).rglob("labels.csv")
    pictures = {p.name: p for p in folder.glob("*/*/*.png")}
    rows = elpv_split.read_rows(labels.read_text())
    return [pictures[f"cell{i:04d}.png"] for i in range(len(rows))], rows


def expert(pictures, truth, train, test, work):
    """Classes the expert's recipe predicts for the test pictures."""
    vectors = work / "expert.npy"
    if not vectors.exists():
        np.save(vectors, _recipe(work).embed(pictures))
    from sklearn.base import clone

    X = np.load(vectors)
    return clone(_recipe(work).head).fit(X[train], truth[train]).predict(X[test])


def _recipe(work):
    """peers/expert.py as a module, with the embedded weights in a hub cache."""
    if not (work / "hub").exists():
        child.run([child.PYTHON, record.HERE / "peers" / "weights.py", work / "hub"])
    os.environ |= {"HF_HUB_CACHE": str(work / "hub"), "HF_HUB_OFFLINE": "1"}
    from peers import expert

    return expert


def headstart(pictures, truth, train, test, folder, how=("--train", "head")):
    """Classes a fresh `headstart fit` predicts for the test pictures, and its result.json; `how`: options of fit."""
    shutil.rmtree(folder, ignore_errors=True)
    for part, indices in (("train", train), ("test", test)):
        for i in indices:
            link(pictures[i], folder / "data" / part / truth[i] / pictures[i].name)
    env = child.environment(folder / "home", folder.parent / "cache")
    run = folder / "run"
    child.run([*child.HEADSTART, "fit", folder / "data", "--out", run, *how, "--json"], env)
    done = child.run([*child.HEADSTART, "predict", run, folder / "data" / "test", "--json"], env)
    found = {Path(p["path"]).name: p["class"] for p in json.loads(done.stdout)["predictions"]}
    return np.array([found[pictures[i].name] for i in test]), json.loads((run / "result.json").read_text())


def link(source, target):
    """A hard link where the file system has them, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def summarise(kept, n, splits, draws=5000):
    """The mean gain with two intervals: over pictures (as drawn in several test sets), and over splits."""
    gains = np.array([r["gain"] for r in kept.runs()])
    drawn = np.zeros((splits, n))
    right = np.zeros((splits, n))
    for r in kept.runs():
        test = r["right"]["test"]
        drawn[r["split"], test] = 1
        right[r["split"], test] = _array(r["right"]["headstart"]) - _array(r["right"]["expert"])
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
    over_pictures = paired.interval(((weights @ right.T) / (weights @ drawn.T)).mean(axis=1))
    test_share = 0.25 / 0.75  # Nadeau and Bengio 2003: the splits share training pictures
    error = float(np.sqrt((1 / splits + test_share) * gains.var(ddof=1))) if splits > 1 else None
    mean = {name: float(np.mean([r[name] for r in kept.runs()])) for name in ("expert", "headstart", "gain")}
    kept.target(f"mean gain over {splits} splits", mean["gain"], above=0.0)
    summary = {"mean": mean, "bootstrap over pictures": over_pictures, "corrected standard error over splits": error}
    header = (
        "split",
        "expert",
        "headstart",
        "gain, points",
        "paired standard error",
        "headstart's own estimate",
        "depths",
    )
    rows = [(*_row(r), ", ".join(r["depths"])) for r in kept.runs()]
    rows.append(("mean", *(_percent(mean[k]) for k in ("expert", "headstart", "gain")), None, None, None))
    kept.note(
        f"mean gain: 95 % interval {_percent(over_pictures['low'])} to {_percent(over_pictures['high'])} points, "
        f"P(> 0) = {over_pictures['p']:.3f} (bootstrap over pictures); standard error over splits "
        f"{'-' if error is None else _percent(error)} points (corrected for shared training pictures)"
    )
    kept.finish({"pictures": n, "splits": splits}, summary, [("Test accuracy, %", header, rows)])


def _row(r):
    return (r["split"], *(_percent(r[k]) for k in ("expert", "headstart", "gain", "standard_error", "expected")))


def _percent(fraction):
    return f"{100 * fraction:.2f}"


def _bits(right):
    return "".join("1" if r else "0" for r in right)


def _array(bits):
    return np.array([b == "1" for b in bits], float)


if __name__ == "__main__":
    main()
