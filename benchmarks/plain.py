"""Are headstart's candidates at least as good as a plain PyTorch fine-tune of the same depth and epochs?

    python benchmarks/plain.py --sets SETS --minutes 50         # again and again, until nothing is left

On the "full" cells of the decision grid (at most 600 training pictures, everything else is test): for every amount of
training, headstart's candidate (the results of deciding.py, made here where they are missing) beside
peers/plain_finetune.py (the same tensors, pictures, epochs and test) at two or three usual learning rates. Both sides
are given the rate that does best on the test pictures. Does not mind other load. An hour for one seed, in pieces.
"""

import argparse
import json
import sys

import child
import deciding
import deciding_train
import numpy as np
import paired
import record
from deciding_entries import Unit, key_of, right_of

SETS = ("elpv", "mnist5k", "emoji_subgroup")
USUAL = (1e-4, 3e-4, 1e-3)  # the largest breaks what was learned when more than a stage is trained
RATES = {"last-1": (3e-4, 1e-3), "last-2": USUAL, "last-3": USUAL, "all": (1e-4, 1e-3)}
PEER = record.HERE / "peers" / "plain_finetune.py"
NOISE = 2.0  # paired standard errors


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--minutes", type=float, help="start nothing that will not be over after so many minutes")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--any-code", action="store_true", help="as for deciding.py")
    a = parser.parse_args()
    candidates = [c for c, (train, _) in deciding_train.TRAINED.items() if train in RATES]
    cells = {"cells": [f"{name}-full" for name in SETS], "candidates": candidates}
    fixed = {"only": "reference", "budget": "2m", "backbone": "auto", "estimate": False, "summary": False}
    grid = deciding.Grid(argparse.Namespace(**{**vars(a), **cells, **fixed}))
    if deciding.work(grid) and peers(grid, a):
        summarise(grid, a)


def unit(draw, train, rate, seed):
    """Where a result of the peer is kept."""
    key = key_of(PEER.read_text("utf-8"), deciding_train.EPOCHS)
    return Unit("plain", draw.name, draw.digest, f"{train}-{rate:g}", seed, key)


def units(grid, a):
    """(draw, amount, rate, seed) of everything that is compared."""
    for seed in a.seeds:
        for draws in grid.draws.values():
            for train, rates in RATES.items():
                for rate in rates:
                    yield draws[0], train, rate, seed


def peers(grid, a):
    """Run what is missing; False when the time is up."""
    env = child.environment(grid.work / "home", HF_HUB_CACHE=grid.work / "hub", HF_HUB_OFFLINE=1)
    if not (grid.work / "hub").exists():
        child.run([sys.executable, PEER.parent / "weights.py", grid.work / "hub"], env)
    for draw, train, rate, seed in units(grid, a):
        kept = unit(draw, train, rate, seed)
        if kept.read(grid.work):
            continue
        if grid.too_late(deciding_train.EPOCHS * len(draw.train) / 14 + len(draw.test) / 30):
            print("the time is up; what is finished is kept, call again to go on", flush=True)
            return False
        out = grid.work / "plain.json"
        files = [draw.manifest(grid.work, part) for part in ("train", "test")]
        asked = ["--train", train, "--rate", rate, "--seed", seed, "--epochs", deciding_train.EPOCHS]
        done = child.run([sys.executable, PEER, *files, out, *asked], env, timeout=7200.0)
        kept.write(grid.work, np.array(json.loads(out.read_text())["right"], bool), seconds=done.wall)
    return True


def summarise(grid, a):
    """One row per set and amount: mean of seeds, the better rate of each side, the paired difference."""
    kept = record.Record("plain", "Candidates beside a plain PyTorch fine-tune of the same depth and epochs", a)
    rows, by_rate, summary = [], [], {}
    for cell, draws in grid.draws.items():
        for train, rates in RATES.items():
            names = [c for c, (t, _) in deciding_train.TRAINED.items() if t == train]
            ours = {c: shares(grid.find(grid.reference(draws[0], s, c)) for s in a.seeds) for c in names}
            theirs = {f"{r:g}": shares(unit(draws[0], train, r, s).read(grid.work) for s in a.seeds) for r in rates}
            mine, other = (max(side, key=lambda k: side[k].mean()) for side in (ours, theirs))
            gain, se = paired.difference(ours[mine], theirs[other])
            by_rate += [(cell, train, rate, f"{100 * right.mean():.1f}") for rate, right in theirs.items()]
            kept.target(
                f"{cell}, {train}: points above the plain loop, in standard errors",
                gain / se if se else 0.0,
                at_least=-NOISE,
            )
            accuracies = (f"{100 * ours[mine].mean():.1f}", f"{100 * theirs[other].mean():.1f}")
            rows.append((cell, train, mine, other, *accuracies, f"{100 * gain:+.1f} +- {100 * se:.1f}"))
            summary[f"{cell} {train}"] = {"ours": mine, "theirs": other, "gain": gain, "se": se}
    header = ("cell", "amount", "headstart's rate", "plain rate", "headstart, %", "plain, %", "difference, points")
    kept.note(f"plain code: {code_lines()} lines; {deciding_train.EPOCHS} epochs, mean of seeds {a.seeds}")
    tables = [("Per set and amount", header, rows)]
    tables.append(("The plain loop at every rate", ("cell", "amount", "rate", "top-1, %"), by_rate))
    kept.finish({c: len(d[0].test) for c, d in grid.draws.items()}, summary, tables)


def shares(entries):
    """Per test picture the share of seeds in which it was right."""
    return np.mean([right_of(entry) for entry in entries], axis=0)


def code_lines():
    """Lines of the peer that are code."""
    body = PEER.read_text("utf-8").split('"""', 2)[2].splitlines()
    return sum(1 for line in body if line.strip() and not line.strip().startswith("#"))


if __name__ == "__main__":
    main()
