"""One measured `fit --train head --profile` of growth.py: seconds and resident memory of every phase of the process."""

import json
import shutil
import time

import child

PASS = ("decode", "resize", "derive", "compute", "collect", "wait")  # parts of a pass over the pictures


def fit(data, run, env, longest):
    """Figures of the process and of its phases; `failed` says why when it did not end well within `longest` seconds."""
    shutil.rmtree(run, ignore_errors=True)
    began = time.time()
    command = [*child.HEADSTART, "fit", data, "--out", run, "--train", "head", "--profile", "--json"]
    done = child.run(command, env, longest, check=False)
    if done.code != 0:
        print(done.stderr[-2000:], flush=True)
        why = f"killed after {longest:.0f} s" if done.wall >= longest else f"ended with {done.code}"
        return {**done.figures(), "failed": why}
    result = json.loads(done.stdout)
    profile = json.loads((run / "profile.json").read_text("utf-8"))
    events = {e["event"]: e for e in map(json.loads, (run / "log.jsonl").read_text("utf-8").splitlines())}
    kept = {key: result["embedding"][key] for key in ("computed", "cached")}
    kept |= {"copies": result["data"]["duplicates"], "top1": result["accuracy"]["top1"]}
    kept |= {"phases": seconds(done.wall, profile, events["probed"]["seconds"]), "rows": profile["rows"]}
    return {**done.figures(), **kept, "memory": memory(done, began, result["seconds"], events)}


def seconds(wall, profile, probe):
    """Wall seconds by phase; they add up to the process. The pass over the pictures is one phase, what the probe does
    is split by its own clock; `end`: after the profile was written.
    """
    found = {}
    for row in profile["rows"]:
        name = row["phase"]
        if name == "embed":
            name = "embed: pass" if row["part"] in PASS else f"embed: {row['part']}"
        found[name] = found.get(name, 0.0) + row["seconds"]
    parts = {f"probe: {part}": spent for part, spent in probe.items()}
    rest = found.pop("probe") - sum(parts.values())
    return {**found, **parts, "probe: rest": rest, "end": wall - profile["seconds"]}


def memory(done, began, clock, events):
    """Peak of the resident MB of every stretch of the run, from the samples."""
    ends = {
        "scan": events["start"]["time"] - began,
        "embed": events["start"]["time"] - began + clock["embed"],
        "probe": events["probed"]["time"] - began,
        "finish": events["saved"]["time"] - began,
        "judge and show": done.wall,
    }
    found, begin = {}, 0.0
    for name, end in ends.items():
        inside = [mb for at, mb in done.samples if begin < at <= end]
        found[name] = max(inside, default=None)
        begin = end
    return found
