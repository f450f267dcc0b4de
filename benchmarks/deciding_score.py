"""What the decision grid says: choice against the reference and against constant policies, with intervals.

Per cell the reference is the candidate with the highest accuracy (mean of seeds and draws) on a random half of the
set's pictures, every class halved; it is scored on the other half; then the halves change places; 20 such splits. A
picture is in the same half in every draw, so none is used to choose and to score. Intervals: bootstrap over pictures,
which all cells of a set share, and over cells.
"""

import zlib
from collections import Counter
from dataclasses import dataclass

import deciding_choice
import deciding_reported
import numpy as np
import pages
import paired
import record
from deciding_entries import right_of
from deciding_train import CANDIDATES, HEADS, OWN_HEAD, TRAINED

SWAPS, BOOTSTRAP = 20, 2000
ACCURACY = "Test accuracy, %"
MANY_TEST, MOST_REGRET = 600, 0.5  # the target: points over cells with so many test pictures
LAST_1 = [name for name, (train, _) in TRAINED.items() if train == "last-1"]


@dataclass(frozen=True)
class Cell:
    """One cell on the n pictures of its pool, as shares of the cell's score, so that sums are accuracies.

    `weight` `(n,)` adds up to 1; `gains[policy]` `(n,)` adds up to the policy's accuracy: policies are the candidates,
    "reference" and, where it ran, "choice". `picked`: how often each candidate was the reference. `entries`: choices.
    """

    name: str
    draws: list
    seeds: int
    weight: np.ndarray
    gains: dict
    picked: dict
    entries: list

    @property
    def test_n(self):
        return min(len(d.test) for d in self.draws)

    def accuracy(self, policy):
        return float(self.gains[policy].sum())


def summarise(a, grid):
    """Print and record what is there; `a`: the arguments."""
    from deciding import SEEDS, folder_of

    found, missing, everything = read(grid)
    cells = [cell_of(name, units) for name, units in found.items()]
    decided = [c for c in cells if "choice" in c.gains]
    whole = not a.cells and not a.candidates and tuple(a.seeds) == SEEDS and a.budget == "2m"
    a.records = folder_of(a, whole and not missing)
    kept = record.Record("deciding", "The choice of `fit` against a grid of references and constant policies", a)
    kept.content["runs"] = everything
    if missing or not whole:
        asked = "" if whole else "only a part was asked for; "
        kept.note(f"NOT THE WHOLE GRID: {asked}{missing} results are missing, cells without all are left out")
    left_out = ", ".join(f"{name} {p.left_out}" for name, p in grid.pools.items() if p.left_out)
    kept.note(f"left out, identical pixels or unreadable: {left_out or 'none'}")
    if not decided:
        kept.note("no choice has run in a cell whose reference is complete: there is nothing to compare")
        return kept.finish({c.name: c.test_n for c in cells}, {}, [grid_table(cells)])
    last_1 = max(LAST_1, key=lambda name: np.mean([c.accuracy(name) for c in decided]))
    many = [c for c in decided if c.test_n >= MANY_TEST]
    compared = {p: compare(decided, "choice", p) for p in ("reference", *CANDIDATES, OWN_HEAD)}
    over_many = compare(many, "reference", "choice") if many else None
    targets(kept, over_many, len(many), {p: compared[p] for p in ("head-last", last_1, "all-0.003")}, len(decided))
    remarks(kept, decided, everything, last_1, grid)
    summary = {"regret": over_many, "choice minus": compared, "last-1": last_1}
    always = policy_table(compared, decided)
    reported = deciding_reported.table([e for c in decided for e in c.entries])
    tables = [cell_table(decided, last_1), always, reported, choice_table(decided), grid_table(cells)]
    kept.finish({c.name: c.test_n for c in cells}, summary, tables)
    if a.page:
        found = pages.sections(kept.folder)
        record_md = pages.link(kept.folder / "record.md", a.page)
        told = f"`benchmarks/deciding.py` ([record]({record_md}); the words are explained below):"
        shown = [f"{title}:\n\n{found[title]}" for title in (always[0], reported[0])]
        pages.put(a.page, "deciding", [told, found[ACCURACY], *shown])


def read(grid):
    """Complete units per cell: {cell: {draw: [(entries by candidate, choice entry or None) per seed]}}; how many
    results are missing; all entries that are used."""
    found, missing, everything = {}, 0, []
    wanted = (*CANDIDATES, OWN_HEAD)
    for cell, draws in grid.draws.items():
        units = []
        for draw in draws:
            for seed in grid.seeds_of(draw):
                references = {c: grid.find(grid.reference(draw, seed, c)) for c in wanted}
                choice = grid.find(grid.choice(draw, seed))
                present = [e for e in (*references.values(), choice) if e is not None]
                assert all(e["n"] == len(draw.test) for e in present), f"{draw.name}: entries of another draw"
                missing += len(wanted) + 1 - len(present)
                everything += present
                if all(references.values()):
                    units.append((draw, references, choice))
        if {d.number for d, _, _ in units} == {d.number for d in draws}:
            found[cell] = units
    return found, missing, everything


def cell_of(name, units):
    """Everything of a cell, references on both sides of every swap."""
    draws = list({d.number: d for d, _, _ in units}.values())
    n = len(draws[0].pool.paths)
    weight = np.zeros(n)
    right = {c: np.zeros((len(draws), n)) for c in (*CANDIDATES, OWN_HEAD, "choice")}
    chosen = [e for _, _, e in units if e is not None]
    for k, draw in enumerate(draws):
        share = 1 / (len(draws) * len(draw.test))
        weight[draw.test] += share
        mine = [(r, c) for d, r, c in units if d.number == draw.number]
        for policy in (*CANDIDATES, OWN_HEAD):
            right[policy][k, draw.test] = share * np.mean([right_of(r[policy]) for r, _ in mine], axis=0)
        choices = [right_of(c) for _, c in mine if c is not None]
        right["choice"][k, draw.test] = share * np.mean(choices, axis=0) if choices else np.nan
    gains = {policy: rows.sum(axis=0) for policy, rows in right.items()}
    if np.isnan(gains["choice"]).any():
        del gains["choice"]
    gains["reference"], picked = reference(gains, weight, draws[0].pool.labels, name)
    return Cell(name, draws, len({r["head-last"]["seed"] for _, r, _ in units}), weight, gains, picked, chosen)


def reference(gains, weight, labels, name):
    """Shares `(n,)` of the reference's accuracy, mean over swaps, and how often which candidate it was."""
    stack = np.stack([gains[c] for c in CANDIDATES])
    total, picked = np.zeros(len(weight)), {}
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for _ in range(SWAPS):
        first = halves(labels, rng)
        for chosen_on in (first, ~first):
            best = int(np.argmax(np.round(stack[:, chosen_on].sum(axis=1), 12)))  # of equals the least training
            total[~chosen_on] += stack[best, ~chosen_on] / SWAPS
            picked[CANDIDATES[best]] = picked.get(CANDIDATES[best], 0) + 1
    return total, picked


def halves(labels, rng):
    """Half of the pictures of every class, at random; odd ones fall to either side in turn."""
    names, first, turn = np.array(labels), np.zeros(len(labels), bool), 0
    for label in np.unique(names):
        rows = rng.permutation(np.flatnonzero(names == label))
        half = (len(rows) + turn) // 2
        turn = (turn + len(rows)) % 2
        first[rows[:half]] = True
    return first


def compare(cells, ours, theirs):
    """Mean over cells of `ours` minus `theirs` in points: value, standard errors, 95 % interval and P(> 0)."""
    rng = np.random.default_rng(0)
    columns = []
    for name in dict.fromkeys(c.name.rsplit("-", 1)[0] for c in cells):
        mine = [c for c in cells if c.name.rsplit("-", 1)[0] == name]
        n = len(mine[0].weight)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=BOOTSTRAP).astype(np.float32)
        for c in mine:
            gain, weight = (c.gains[ours] - c.gains[theirs]).astype(np.float32), c.weight.astype(np.float32)
            columns.append(100.0 * (drawn @ gain) / (drawn @ weight))
    per_cell = np.stack(columns, axis=1)
    picked = rng.integers(0, len(columns), per_cell.shape)
    both = np.take_along_axis(per_cell, picked, axis=1).mean(axis=1)
    pictures = per_cell.mean(axis=1)
    value = 100.0 * float(np.mean([c.accuracy(ours) - c.accuracy(theirs) for c in cells]))
    errors = {"se": float(both.std(ddof=1)), "se_pictures": float(pictures.std(ddof=1))}
    return {"value": value, **errors, **paired.interval(both), "pictures": paired.interval(pictures)}


def targets(kept, regret, n_many, constants, n):
    """What must be reached. The standard error is that over pictures, the smaller one: the grid's cells are given."""
    if regret is not None:
        what = f"mean regret over {n_many} cells with >= {MANY_TEST} test pictures, points (0.5 + 1 SE over pictures)"
        kept.target(what, regret["value"], at_most=MOST_REGRET + regret["se_pictures"])
    for policy, found in constants.items():
        kept.target(f"mean over {n} cells, choice minus always {policy}, points", found["value"], above=0.0)


def remarks(kept, cells, everything, last_1, grid):
    choices = [e for c in cells for e in c.entries]
    late = [e for e in choices if not deciding_choice.in_time(e, grid.budget)]
    busy = [e for e in choices if (e["process"]["foreign"] or 0.0) > 0.05]
    commits = {f"{(e['commit'] or 'none')[:9]}{' and changes' if e['changed'] else ''}" for e in everything}
    failed = sum("failed" in e for e in everything)
    kept.note(f"always last-1 means {last_1}: of its two rates the better one on the mean over cells, known afterwards")
    walls = record.span(record.spread([e["seconds"] for e in choices]))
    too_long = f"{len(late)} took longer than max(1.1 x budget, frozen answer + 5 s)"
    kept.note(f"{len(choices)} choices, wall time {walls} s; {too_long}")
    networks = counted(e["decision"]["backbone"] for e in choices)
    kept.note(f"networks of the choices (the reference has one, {grid.weights.split()[0]}): {networks}")
    kept.note(deciding_reported.note(choices))
    kept.note(f"{len(busy)} of {len(choices)} choices ran beside foreign load above 5 %")
    kept.note(f"{failed} trainings of the reference diverged; they count as wrong everywhere")
    kept.note(f"results come from the commits {', '.join(sorted(commits))}")
    for what, names in (("heads", {*HEADS, OWN_HEAD}), ("trainings", set(TRAINED))):
        versions = len({e["key"] for e in everything if e["what"] in names})
        kept.note(f"versions of the code behind the {what} of the reference: {versions}")
    kept.note(f"versions of the code behind the choices: {len({e['key'] for e in choices})}")
    kept.note("intervals do not include the spread between seeds; cells of one set share test pictures")


def counted(values):
    """Values and how often each, the most frequent first."""
    return ", ".join(f"{value} {times}x" for value, times in Counter(values).most_common())


def cell_table(cells, last_1):
    policies = ("choice", "reference", "head-last", last_1, "all-0.003", OWN_HEAD)
    header = ("cell", "draws x train", "test n", *policies, "regret", "its SE")
    rows = []
    for c in cells:
        regret = compare([c], "reference", "choice")
        sizes = f"{len(c.draws)} x {len(c.draws[0].train)}"
        figures = (*(f"{100 * c.accuracy(p):.2f}" for p in policies), *(f"{regret[k]:.2f}" for k in ("value", "se")))
        rows.append((c.name, sizes, c.test_n, *figures))
    return ACCURACY, header, rows


def choice_table(cells):
    rows = []
    for c in cells:
        most = sorted(c.picked, key=c.picked.get, reverse=True)[:2]
        picks = ", ".join(f"{m} {c.picked[m] / (2 * SWAPS):.0%}" for m in most)
        rows.append((c.name, counted(deciding_choice.taken(e) for e in c.entries), picks))
    return "What was chosen", ("cell", "chosen", "reference, mostly"), rows


def policy_table(compared, cells):
    header = ("policy", "mean over cells, %", "choice minus it, points", "95 %", "P(> 0)", "95 %, pictures only")
    rows = []
    for policy, found in compared.items():
        mean = 100 * np.mean([c.accuracy(policy) for c in cells])
        bounds = [f"{f['low']:.2f} to {f['high']:.2f}" for f in (found, found["pictures"])]
        rows.append((policy, f"{mean:.2f}", f"{found['value']:+.2f}", bounds[0], f"{found['p']:.3f}", bounds[1]))
    return f"Always the same, over {len(cells)} cells", header, rows


def grid_table(cells):
    rows = [(c.name, c.seeds, *(f"{100 * c.accuracy(p):.2f}" for p in CANDIDATES)) for c in cells]
    return "Every candidate, %", ("cell", "seeds", *CANDIDATES), rows
