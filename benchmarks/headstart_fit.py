"""One `headstart fit` as a measured process, and a cache in which only the network's graph is ready."""

import json
import shutil

import child


def fit(data, run, env, *more, timeout=3600.0):
    """(figures of the process, result.json) of `headstart fit DATA --out RUN --train head`; an old RUN is removed."""
    shutil.rmtree(run, ignore_errors=True)
    done = child.run([*child.HEADSTART, "fit", data, "--out", run, "--train", "head", "--json", *more], env, timeout)
    return done, json.loads(done.stdout)


def graph_cache(work, other):
    """A cache folder that a `fit` on another data set left behind; made once."""
    kept = work / "graph-cache"
    if not kept.exists():
        filling = work / "graph-cache-filling"
        shutil.rmtree(filling, ignore_errors=True)
        fit(other, work / "graph-run", child.environment(work / "home", filling))
        filling.rename(kept)
    return kept


def fresh_cache(work, other):
    """A copy of `graph_cache` for one run, without its embeddings."""
    cache = work / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(graph_cache(work, other), cache)
    shutil.rmtree(cache / "embeddings", ignore_errors=True)
    return cache
