"""What training gained over a new head on the sets of the decision grid, and what a rule that knows it is worth.

    python benchmarks/experience.py --sets SETS --work WORK [--candidate last-3-0.01]

Reads finished results of `deciding.py` (those of the repository too) and trains nothing. First table: test errors of
the head that `fit` takes by itself, and the share of them that the candidate takes away (`rules.gain_elsewhere`).
Second table: a share of as many test pictures as there were training pictures stands for the folds that a budget had
time to judge; the rule decides on them, what it decided is judged on all test pictures. Points gained over always
keeping the head, mean over cells; 300 draws of pictures each. "the other sets" knows only what the other sets of the
same place gained. One candidate alone: a race chooses among several, which costs (`decision_rule.py`). Prints two
tables, no record; two minutes.
"""

import math
from collections import defaultdict

import deciding
import deciding_train
import numpy as np
import record

SHARES, DRAWS, LEAST = (0.2, 0.4, 1.0), 300, 30
PLACES = {"nature": "near", "gcompris": "near", "emoji_subgroup": "middle", "elpv": "far", "mnist5k": "far"}
PLACES["digits8"] = "far"  # docs/similarity.md
LEAST_DEVIATION = 0.2


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--candidate", default="last-3-0.01")
    parser.add_argument(
        "--any-code", action="store_true", help="results of other code count where this code's are missing"
    )
    parser.set_defaults(budget="2m", backbone="auto", minutes=None, candidates=[], cells=[], seeds=list(deciding.SEEDS))
    a = parser.parse_args()
    a.only = "reference"
    cells = {cell: pairs for cell, pairs in results(deciding.Grid(a), a.candidate).items() if pairs}
    shares = {cell: np.mean([(t - h).mean() for h, t, _ in p]) / errors(p) for cell, p in cells.items()}
    print("| cell | runs | training pictures | errors of the head, % | gained, points | share of the errors |")
    print("|---|---|---|---|---|---|")
    for cell, pairs in cells.items():
        wrong = errors(pairs)
        row = (cell, len(pairs), pairs[0][2], f"{100 * wrong:.1f}", f"{100 * wrong * shares[cell]:.2f}")
        print("|", " | ".join(map(str, row)), f"| {shares[cell]:.2f} |")
    known = rules_of(shares, {cell: pairs[0][2] for cell, pairs in cells.items()})
    print("\n| pictures judged, share of the training pictures |", " | ".join(known), "|")
    print("|---|" + "---|" * len(known))
    for share in SHARES:
        gained = {name: np.mean([worth(p, share, rule(c)) for c, p in cells.items()]) for name, rule in known.items()}
        print(f"| {share} |", " | ".join(f"{100 * gain:.2f}" for gain in gained.values()), "|", flush=True)


def results(grid, candidate):
    """{cell: [(rightness of the head, of the candidate, number of training pictures)]} of what is finished."""
    found = defaultdict(list)
    for cell, draws in grid.draws.items():
        for draw in draws:
            for seed in grid.seeds_of(draw):
                both = [grid.find(grid.reference(draw, seed, what)) for what in ("head-chosen", candidate)]
                if all(both):
                    found[cell].append((*map(deciding_right, both), len(draw.train)))
    return found


def deciding_right(entry):
    """Which test pictures were right, 0 or 1."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(entry["right"]), np.uint8))[: entry["n"]].astype(float)


def errors(pairs):
    return float(np.mean([1 - head.mean() for head, _, _ in pairs]))


def rules_of(shares, sizes):
    """{name: cell -> (what is expected or None, least probability)}."""
    from headstart.howmuch.better import P_TOP1
    from headstart.howmuch.experience import P_INFORMED
    from headstart.rules import gain_elsewhere

    def place_of(cell):
        return PLACES[cell.rsplit("-", 1)[0]]

    def headstarts(cell):
        return gain_elsewhere("last-3", place_of(cell), sizes[cell], deciding_train.EPOCHS).value

    def of_others(cell):
        name, place = cell.rsplit("-", 1)[0], place_of(cell)
        others = [
            s for c, s in shares.items() if place_of(c) == place and c.rsplit("-", 1)[0] != name and sizes[c] >= LEAST
        ]
        if place != "far" or sizes[cell] < LEAST or len(others) < 2:
            return None
        return float(np.mean(others)), max(LEAST_DEVIATION, float(np.std(others)))

    def with_enough(known, least):
        return lambda cell: (known(cell), least if known(cell) else P_TOP1)

    return {
        "these pictures alone, P >= 0.9": lambda cell: (None, P_TOP1),
        "with experience, P >= 0.9": with_enough(headstarts, P_TOP1),
        "with experience, P >= 0.8 (headstart)": with_enough(headstarts, P_INFORMED),
        "with that of the other sets, P >= 0.9": with_enough(of_others, P_TOP1),
        **{f"with that of the other sets, P >= {p}": with_enough(of_others, p) for p in (0.8, 0.7, 0.6, 0.5)},
        "these pictures alone, P >= 0.5": lambda cell: (None, 0.5),
        "always the candidate": lambda cell: (None, 0.0),
    }


def worth(pairs, share, rule):
    """Mean gain over always keeping the head (0..1)."""
    from headstart.howmuch.better import Better, chance
    from headstart.howmuch.experience import informed

    expected, least = rule
    rng, gained = np.random.default_rng(0), []
    for head, trained, n in pairs:
        taken = 0
        for _ in range(DRAWS):
            rows = rng.choice(len(head), min(n, len(head)), replace=False)
            some = rows[: max(4, round(share * n))]
            gains = trained[some] - head[some]
            gain, error = float(gains.mean()), math.hypot(gains.std() / math.sqrt(len(some)), 1 / len(some))
            p = chance(gain, error)
            compared = Better(gain, error, gain, 0.0, 1.0, p, 0.5, 0.0, 0.0, 1.0, p)
            taken += informed(compared, expected, 1 - float(head[rows].mean())).p >= least
        gained.append(taken / DRAWS * float((trained - head).mean()))
    return np.mean(gained)


if __name__ == "__main__":
    main()
