"""The `decision` part keeps its keys, with and without a race."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.howmuch.decide import decide
from headstart.howmuch.probe import probe
from headstart.howmuch.race import race
from headstart.howmuch.verdict import judge_race
from race_world import World

KEYS = ("train", "depths", "backbone", "extra_layers", "learning_rate", "kind", "penalty", "why", "p_better")


def found_by_probe():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    matrices = [(rng.normal(size=(60, 5)) + y[:, None] * s).astype(np.float16) for s in (2.0, 0.1)]
    return probe(matrices, ("block0", "last"), y, 2, np.arange(60)[None] % 3)


def test_with_and_without_a_race():
    found = found_by_probe()
    plain = decide(found, "net")
    assert set(KEYS) <= set(plain) and plain["train"] == "head" and plain["learning_rate"] is None
    assert plain["depths"] == ["block0", "last"] and plain["why"].startswith("The mean of ")
    assert " heads, on depths block0 and last, reaches " in plain["why"] and plain["penalty"] is None
    alone = replace(found, chosen=found.alone[0])
    assert decide(alone, "net")["why"].startswith("Depth")
    world = World(n=300, frozen=0.75, gains={"last-2": 0.15})
    verdict = judge_race(
        world.answer(), race(world.plan(("last-2",)), world.run, world.answer(), world.folds, world.clock(99))
    )
    raced = decide(found, "net", verdict)
    assert set(KEYS) <= set(raced)
    assert raced["train"] == "last-2" and raced["learning_rate"] == verdict.arm.learning_rate
    assert raced["why"] == verdict.why and raced["p_better"] == verdict.p_better >= 0.9
    assert raced["epochs"] == verdict.version.epoch
    kept = judge_race(
        world.answer(), race(world.plan(("last-2",)), world.run, world.answer(), world.folds, world.clock(1))
    )
    unraced = decide(found, "net", kept)
    assert unraced["train"] == "head" and unraced["kind"] == plain["kind"] and unraced["p_better"] == plain["p_better"]
