"""How often is more training chosen where it is no better, and what does it cost to miss where it is? Simulated races.

    python benchmarks/decision_rule.py --races 60

Twelve arms (four amounts at three rates, four epochs and a blend each) run through the whole race and the decision, in
a world where the true accuracy of each is known (tests/race_world.py): pictures differ in difficulty, arms resemble
each other. Every other race has an allowance of 30 folds. Per rule: the share of races that ended in more
training, and the mean regret in points against the best of all arms and the frozen head. Under "none better" the first
should be below 0.10, everywhere the second small. About 10 minutes of one core.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from headstart.howmuch import better, verdict
from headstart.howmuch.better import chance
from headstart.howmuch.race import race
from race_world import World

AMOUNTS = ("norms", "last-1", "last-2", "all")
WORLDS = {
    "none better": {},
    "none better, sharper": {"sharper": 0.6},
    "all +1": {"gains": dict.fromkeys(AMOUNTS, 0.01)},
    "one amount +3": {"gains": {"last-1": 0.03}},
    "more is better: 0 1 2 4": {"gains": {"last-1": 0.01, "last-2": 0.02, "all": 0.04}},
    "all -2": {"gains": dict.fromkeys(AMOUNTS, -0.02)},
}
RULES = {
    "uncorrected accuracy 0.9": lambda c: chance(c.apparent, c.error) >= 0.9,
    "corrected accuracy 0.9": lambda c: c.p >= 0.9,
    "or log-loss 0.95, accuracy 0.5": lambda c: c.p >= 0.9 or (c.p_nll >= 0.95 and c.p >= 0.5),
    "or log-loss 0.975, accuracy 0.6 (headstart)": verdict.clear,
    "or log-loss 0.975, accuracy 0.75": lambda c: c.p >= 0.9 or (c.p_nll >= 0.975 and c.p >= 0.75),
    "never": lambda c: False,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=60)
    parser.add_argument("--pictures", type=int, nargs="*", default=[50, 200, 600])
    a = parser.parse_args()
    better.DRAWS = 200
    print("| world | n | " + " | ".join(RULES) + " |")
    print("|" + "---|" * (len(RULES) + 2))
    for name, options in WORLDS.items():
        for n in a.pictures:
            cells = [run_world(n, seed, options) for seed in range(a.races)]
            means = np.array(cells, float).mean(axis=0)
            print(f"| {name} | {n} | " + " | ".join(f"{t:.2f}, {100 * r:.2f}" for t, r in means) + " |", flush=True)


def run_world(n, seed, options):
    """Per rule: (trained more, regret)."""
    world = World(n=n, seed=seed, **options)
    answer = world.answer()
    found = race(world.plan(AMOUNTS), world.run, answer, world.folds, world.clock(30 if seed % 2 else 1e6))
    best = max(world.truth(None), *(world.truth(r.arm) for r in found.runs))
    cells = []
    for rule in RULES.values():
        verdict.clear = rule
        chosen = verdict.judge_race(answer, found, seed=seed).arm
        cells.append((chosen is not None, best - world.truth(chosen)))
    return cells


if __name__ == "__main__":
    main()
