"""Is deciding worth it? What `fit` chooses in two minutes, against the best of a fixed grid and constant policies.

    python benchmarks/deciding.py --sets SETS --estimate
    python benchmarks/deciding.py --sets SETS --minutes 50        # again and again, until nothing is left
    python benchmarks/deciding.py --sets SETS --pack              # keep what is finished in the repository
    python benchmarks/deciding.py --sets SETS --summary [--page docs/how-much-to-train.md]

Grid: six sets x {full, 20, 5 per class}, at most 600 training pictures; head on the last layer, the best single depth
and all depths; norms and all at one rate, last-1, last-2, last-3 at two, 6 epochs; two seeds (a cell of several draws
has one per draw, in turn). Everything that is not trained on is test. The reference is chosen on half of the test
pictures and scored on the other half. What is finished stays in the work folder (`--pack`: in
records/deciding-entries.jsonl, for other machines), whatever is committed, as long as the code that decides it is the
same. The reference does not mind other load; the choice has a wall-clock budget and wants a quiet machine. Some 5
hours of two cores.
"""

import shutil
import time
from pathlib import Path

import deciding_cells
import deciding_choice
import deciding_entries
import deciding_score
import deciding_train
import record

SEEDS, PARTS = (0, 1), ("reference", "choice")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part of the work [both]")
    parser.add_argument("--cells", nargs="*", default=[], help="cells (nature-5) or sets (nature) [all]")
    parser.add_argument("--candidates", nargs="*", default=[], help="these candidates of the reference [all]")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--minutes", type=float, help="start nothing that will not be over after so many minutes")
    parser.add_argument("--budget", default="2m", help="of the choice [2m]")
    parser.add_argument("--backbone", default="auto", help="of the choice: auto as users have it, or pinned [auto]")
    parser.add_argument("--estimate", action="store_true", help="only say what is left to do and how long that takes")
    parser.add_argument("--summary", action="store_true", help="only sum up; a record when the grid is complete")
    parser.add_argument("--pack", action="store_true", help="only put what is finished into the repository")
    parser.add_argument("--page", type=Path, help="Markdown page that gets the tables, between its two marks")
    parser.add_argument(
        "--any-code", action="store_true", help="results of other code count where this code's are missing"
    )
    a = parser.parse_args()
    if unknown := set(a.candidates) - {*deciding_train.CANDIDATES, deciding_train.OWN_HEAD}:
        raise SystemExit(f"no candidate {min(unknown)}: {', '.join(deciding_train.CANDIDATES)}")
    if a.pack:
        print(f"{deciding_entries.pack(a.work / 'deciding', (*PARTS, 'plain'))} results are in the repository")
        return
    grid = Grid(a)
    if not a.summary:
        estimate(grid)
        if a.estimate or not work(grid):
            return
    deciding_score.summarise(a, grid)


class Grid:
    """Cells, draws and units that were asked for; `todo` lists what is not on disk yet."""

    def __init__(self, a):
        from headstart.config import seconds_of

        self.a, self.work = a, a.work / "deciding"
        self.weights, self.budget = weights_key(), seconds_of(a.budget)
        self.deadline = None if a.minutes is None else time.monotonic() + 60 * a.minutes
        self.candidates = a.candidates or [*deciding_train.CANDIDATES, deciding_train.OWN_HEAD]
        self.pools, self.draws = {}, {}
        for cell in deciding_cells.cell_names(a.cells):
            name = cell.rsplit("-", 1)[0]
            if name not in self.pools:
                self.pools[name] = deciding_cells.open_pool(a.sets, name, self.work)
            self.draws[cell] = deciding_cells.draws_of(cell, self.pools[name])

    def reference(self, draw, seed, candidate):
        return deciding_train.unit_of(draw, candidate, seed, self.weights)

    def choice(self, draw, seed):
        return deciding_choice.unit_of(draw, (self.a.budget, self.a.backbone), seed, self.weights)

    def seeds_of(self, draw):
        """The seeds of a draw: all, or one where the cell's draws differ anyway."""
        single = len(self.draws[draw.cell]) == 1
        return [s for s in self.a.seeds if single or s == SEEDS[draw.number % len(SEEDS)]]

    def find(self, unit):
        """The entry of a unit, or None."""
        return unit.read(self.work) or (unit.of_any_code(self.work) if self.a.any_code else None)

    def todo(self):
        """(part, set, draw, seed, candidate, forecast in seconds), the first seed of everything first."""
        for seed in self.a.seeds:
            for cell, draws in self.draws.items():
                for draw in (d for d in draws if seed in self.seeds_of(d)):
                    for part, candidate, forecast in self._missing(draw, seed):
                        yield part, cell.rsplit("-", 1)[0], draw, seed, candidate, forecast

    def _missing(self, draw, seed):
        if self.a.only != "choice":
            setup = deciding_train.setup_seconds(draw)
            for candidate in self.candidates:
                if self.find(self.reference(draw, seed, candidate)) is None:
                    yield "reference", candidate, setup + deciding_train.seconds_of(candidate, draw)
                    setup = 0.0
        if self.a.only != "reference" and self.find(self.choice(draw, seed)) is None:
            yield "choice", "choice", deciding_choice.seconds_of(draw, self.budget)

    def too_late(self, forecast):
        return self.deadline is not None and time.monotonic() + forecast > self.deadline


def estimate(grid):
    """Print what is left, per set and part; the forecast does not know how early a choice ends."""
    left, units = {}, {}
    for part, name, _draw, _seed, _candidate, forecast in grid.todo():
        left[name, part] = left.get((name, part), 0.0) + forecast
        units[name, part] = units.get((name, part), 0) + 1
    for cell, draws in grid.draws.items():
        train, test = (sorted({len(getattr(d, side)) for d in draws}) for side in ("train", "test"))
        print(f"{cell}: {len(draws)} x {'-'.join(map(str, train))} training, {'-'.join(map(str, test))} test pictures")
    for (name, part), seconds in left.items():
        print(f"left: {name}, {part}: {units[name, part]} results, {seconds / 60:.0f} min")
    print(f"left: {sum(units.values())} results, {sum(left.values()) / 3600:.1f} h", flush=True)


def work(grid):
    """Do what is left, until it is done (True) or too late (False)."""
    whole = lessons = None
    deciding_train.load()
    try:
        for part, name, draw, seed, candidate, forecast in list(grid.todo()):
            if grid.too_late(forecast):
                print("the time is up; what is finished is kept, call again to go on", flush=True)
                return False
            if part == "choice":
                unit = grid.choice(draw, seed)
                right, facts = deciding_choice.choose(draw, (grid.a.budget, grid.a.backbone), seed, grid.work)
            else:
                if whole is None or whole.pool.name != name:
                    close(lessons, whole)
                    whole, lessons = deciding_train.WholeSet(grid.pools[name], grid.work), None
                if lessons is None or (lessons.draw, lessons.seed) != (draw, seed):
                    close(lessons)
                    lessons = deciding_train.Lessons(whole, draw, seed)
                unit = grid.reference(draw, seed, candidate)
                right, facts = lessons.right(candidate)
            unit.write(grid.work, right, **facts)
    finally:
        close(lessons, whole)
    return True


def close(*opened):
    for one in opened:
        if one is not None:
            one.close()


def weights_key():
    """The pretrained network, without opening it."""
    from headstart import rules
    from headstart.backbone.sources import find_source

    source = find_source(rules.backbone("auto").value)
    return f"{rules.backbone('auto').value} {source.sha256} {source.side}"


def folder_of(a, complete):
    """Records are for whole grids; what is summed up on the way stays in the work folder."""
    partial = a.work / "deciding" / "partial"
    if not complete:
        shutil.rmtree(partial, ignore_errors=True)
    return a.records if complete else partial


if __name__ == "__main__":
    main()
