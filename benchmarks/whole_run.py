"""elpv, the whole process: an expert's script against `headstart fit --train head`, interleaved.

    python benchmarks/whole_run.py --sets SETS [--rounds 3]

Four cases a round: `expert`; `empty` (every cache empty); `graph` (a cache another data set left behind: the graph is
there, no embedding of these pictures); `warm` (the cache the case before left behind). About 5 minutes a round. The
foreign load is looked at before every run and recorded during it.
"""

import json
import shutil
from pathlib import Path

import child
import headstart_fit
import quiet
import record

CASES = ("expert", "empty", "graph", "warm")
FIGURES = ("wall", "cpu", "peak_mb", "tree_mb", "foreign", "top1")
TARGETS = (("empty", 0.45), ("graph", 0.33))


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", default="elpv", help="data set that is measured [%(default)s]")
    parser.add_argument("--other", default="nature", help="data set that fills the graph cache [%(default)s]")
    a = parser.parse_args()
    kept = record.Record("whole-run", f"{a.set}: whole process, expert script against headstart fit", a)
    work = a.work / "whole-run"
    prepare(work, a.sets / a.other)
    for k in range(a.rounds):
        order = CASES if k % 2 == 0 else (*CASES[1:], CASES[0])  # the expert is not always the one after a pause
        for case in order:
            if not kept.runs(case=case, round=k):
                load = quiet.wait_until_quiet(kept)
                kept.add(case=case, round=k, load_before=load, **one_run(case, a.sets / a.set, work))
    summarise(kept, a)


def prepare(work, other):
    """The hub cache for timm and a headstart cache that has seen another data set."""
    if not (work / "hub").exists():
        child.run([child.PYTHON, record.HERE / "peers" / "weights.py", work / "hub"])
    headstart_fit.graph_cache(work, other)


def one_run(case, data, work):
    """Figures of one run; for `warm` also whether torch was loaded."""
    cache, home = work / "cache", work / "home"
    shutil.rmtree(home, ignore_errors=True)
    if case == "expert":
        env = child.environment(home, HF_HUB_CACHE=work / "hub", HF_HUB_OFFLINE=1)
        command = [child.PYTHON, record.HERE / "peers" / "expert.py", data / "train", data / "test"]
        done = child.run([*command, work / "expert.json"], env)
        named = json.loads((work / "expert.json").read_text())["predictions"]
        return {**done.figures(), "top1": sum(Path(p).parts[0] == name for p, name in named.items()) / len(named)}
    if case in ("empty", "graph"):
        shutil.rmtree(cache, ignore_errors=True)
    if case == "graph":
        shutil.copytree(work / "graph-cache", cache)
    if case == "warm" and not cache.exists():  # a continued record may begin here
        fit(data, work, child.environment(home, cache))
    return fit(data, work, child.environment(home, cache))


def fit(data, work, env):
    """One `headstart fit --train head`, from process start to process end."""
    shutil.rmtree(work / "run", ignore_errors=True)
    modules = work / "modules.json"
    modules.unlink(missing_ok=True)
    command = [child.PYTHON, record.HERE / "inside.py", modules, "fit", data, "--out", work / "run", "--train", "head"]
    done = child.run([*command, "--json"], env)
    result = json.loads(done.stdout)
    names = json.loads(modules.read_text()) if modules.exists() else None
    facts = {"top1": result.get("test", {}).get("top1"), "torch": None if names is None else "torch" in names}
    return {**done.figures(), **facts, "seconds": result["seconds"], "engine": result["engine"]}


def summarise(kept, a):
    values = {c: {f: record.spread([r[f] for r in kept.runs(case=c)]) for f in FIGURES} for c in CASES}
    rounds = {c: [r["wall"] for k in range(a.rounds) for r in kept.runs(case=c, round=k)] for c in CASES}
    ratios = {c: record.spread([x / e for x, e in zip(rounds[c], rounds["expert"], strict=True)]) for c in CASES[1:]}
    for case, limit in TARGETS:
        kept.target(f"wall of {case} / wall of the expert (median of rounds)", ratios[case]["median"], at_most=limit)
    kept.target("wall of warm, seconds", values["warm"]["wall"]["median"], at_most=10.0)
    torch = [r["torch"] for r in kept.runs(case="warm")]
    kept.target("warm runs that loaded torch (or did not tell)", sum(t is not False for t in torch), at_most=0)
    if max(r["foreign"] or 0.0 for r in kept.runs()) > quiet.LIMIT:
        kept.note("foreign load was above 5 % during at least one run: see `foreign` there")
    kept.note("Files are warm in the page cache for everyone. HOME and all caches are new folders for every run.")
    header = ("case", *(f"{f} median (low-high)" for f in FIGURES), "ratio to the expert, per round")
    rows = [(c, *(record.span(values[c][f]) for f in FIGURES), _ratios(ratios.get(c))) for c in CASES]
    phases = [(c, *_phases(kept.runs(case=c))) for c in CASES[1:]]
    names = ("case", *(kept.runs(case="empty")[0]["seconds"]))
    tables = [("Whole process", header, rows), ("Seconds by phase (last round)", names, phases)]
    kept.finish({"rounds": a.rounds}, {"values": values, "ratios": ratios}, tables)


def _phases(runs):
    return runs[-1]["seconds"].values()


def _ratios(ratio):
    return None if ratio is None else ", ".join(f"{x:.3f}" for x in ratio["values"])


if __name__ == "__main__":
    main()
