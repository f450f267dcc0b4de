"""The choice of the decision grid: the real command line on a cell's manifest, tested on the cell's test pictures.

Each run finds the graphs of all installed networks ready and no embeddings, as after a first `fit` on other pictures.
With `--backbone auto` the choice may take another network than the reference's; the record says which and how often.
"""

import json
import shutil
import unicodedata
from functools import cache

import child
import numpy as np
from deciding_entries import Unit, all_code, all_code_now, key_of

ANSWER = ("scan", "embed", "probe", "finish")  # phases until the frozen answer is saved


def unit_of(draw, how, seed, weights):
    """Where a result is kept: everything of the package may change it. `how`: budget and backbone."""
    return Unit("choice", draw.name, draw.digest, "-".join(("choice", *how)), seed, key_of(weights, all_code()))


def choose(draw, how, seed, work):
    """(rightness on the test pictures, facts) of one `headstart fit`."""
    ready_graphs(work / "cache")
    (budget, backbone), own = how, work / "choosing"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(work / "cache", own / "cache", ignore=shutil.ignore_patterns("embeddings", "cuts"))
    command = ("fit", draw.manifest(work), "--out", own / "run", "--budget", budget, "--seed", seed, "--json")
    command += () if backbone == "auto" else ("--backbone", backbone)
    done = child.run([*child.HEADSTART, *command], child.environment(own / "home", own / "cache"))
    result = json.loads(done.stdout)
    right = test(own / "run", draw)
    shutil.rmtree(own, ignore_errors=True)
    if all_code_now() != all_code():
        raise SystemExit("the package was changed meanwhile: this choice is not kept; call again")
    seconds, candidates = result["seconds"], result.get("candidates", [])
    return right, {
        "seconds": done.wall,
        "train_n": len(draw.train),
        "code": all_code(),
        "decision": result["decision"],
        "accuracy": result.get("accuracy"),
        "answer_seconds": sum(seconds.get(phase, 0.0) for phase in ANSWER),
        "phases": seconds,
        "process": done.figures(),
        "tried": [{k: c.get(k) for k in ("train", "learning_rate", "n", "top1", "status")} for c in candidates],
    }


@cache
def ready_graphs(folder):
    """Export every installed network that is not there yet."""
    import headstart
    from headstart.backbone.backbone import open_backbone

    for facts in headstart.backbones():
        if facts["installed"]:
            open_backbone(facts["name"], folder).graph()


def test(run, draw):
    """Which test pictures the classifier of `run` gets right."""
    import headstart

    classifier = headstart.load(run)
    names = np.array(classifier.classes)
    truth = np.array([unicodedata.normalize("NFC", draw.pool.labels[i]) for i in draw.test])
    assert set(names) == set(truth), f"{draw.name}: other classes than the manifest has"
    found = classifier.probabilities([draw.pool.paths[i] for i in draw.test])
    assert not found.errors, found.errors
    return names[found.values.argmax(axis=1)] == truth


def seconds_of(draw, budget_seconds):
    """A forecast: the whole budget, the copy of the cache, and the test."""
    return budget_seconds + 4.0 + len(draw.test) / 250


def taken(entry):
    """What was chosen, in a word."""
    from headstart import rules

    d = entry["decision"]
    network = "" if d["backbone"] == rules.backbone("auto").value else f" on {d['backbone']}"
    if d["train"] == "head":
        return f"head {'+'.join(d['depths'])}{network}"
    rate = "" if d.get("learning_rate") is None else f"-{d['learning_rate']:g}"
    return f"{d['train']}{rate}{' blend' if d.get('blend') else ''}{network}"


def in_time(entry, budget_seconds):
    """Whether the wall time kept to max(1.1 x budget, time of the frozen answer + 5 s)."""
    return entry["seconds"] <= max(1.1 * budget_seconds, entry["answer_seconds"] + 5.0)
