"""What the side-by-side runs say: ratios inside a round, paired differences on the same test pictures."""

from dataclasses import dataclass

import numpy as np
import paired
import peers_runs
import record

DRAWS = 4000
Z95 = 1.96


@dataclass(frozen=True)
class Cell:
    """Every kept run of one tool on one set; `right`: per test picture, mean over the runs, or None."""

    tool: str
    pictures: object
    runs: list

    @property
    def right(self):
        told = [peers_runs.right_of(r) for r in self.runs if "right" in r]
        return np.mean(told, axis=0) if told else None

    @property
    def top1(self):
        return float(self.right.mean())

    def values(self, figure):
        return [r[figure] for r in self.runs if r.get(figure) is not None]

    def spread(self, figure):
        """Median, extremes and values of a figure of the runs."""
        return record.spread(self.values(figure))

    def interval(self):
        """Wilson's 95 % interval of the accuracy: of the pictures, however often the tool was run on them."""
        from headstart.evaluation.intervals import wilson

        n = len(self.right)
        return wilson(self.top1 * n, n)


class Cells:
    """All cells by tool and set; what failed; `of(tool)`: where a tool told classes."""

    def __init__(self, plan):
        self.found, self.failed, self.waiting = {}, [], []
        for unit in plan.units():
            entry = plan.find(unit)
            if entry is None:
                self.waiting.append(unit)
            elif "failed" in entry:
                self.failed.append(entry)
            else:
                key = (unit.tool, unit.pictures.name)
                self.found.setdefault(key, Cell(unit.tool, unit.pictures, [])).runs.append(entry)
        self.sets = list(dict.fromkeys(name for _, name in self.found))
        self.tools = [tool for tool in plan.a.tools if any(t == tool for t, _ in self.found)]

    def get(self, tool, name):
        return self.found.get((tool, name))

    def judged(self, tool):
        """The sets on which a tool told classes."""
        return [s for s in self.sets if (c := self.get(tool, s)) is not None and c.right is not None]

    def ratios(self, ours, theirs, name, figure="wall"):
        """Ours over theirs for every round that has both; None when no round has."""
        pair = [self.get(tool, name) for tool in (ours, theirs)]
        if None in pair:
            return None
        a, b = ({r["round"]: r[figure] for r in cell.runs} for cell in pair)
        common = sorted(a.keys() & b.keys())
        return record.spread([a[k] / b[k] for k in common]) if common else None

    def difference(self, ours, theirs, name):
        """(accuracy of ours minus theirs, paired standard error) on one set, fractions; None when one is missing."""
        pair = [self.get(tool, name) for tool in (ours, theirs)]
        if any(cell is None or cell.right is None for cell in pair):
            return None
        return paired.difference(pair[0].right, pair[1].right)

    def upper(self, ours, theirs, name):
        """Upper end of the paired 95 % interval in points: at least 0 means not lower beyond noise."""
        found = self.difference(ours, theirs, name)
        return None if found is None else 100 * (found[0] + Z95 * found[1])

    def mean_gain(self, ours, theirs):
        """Ours minus theirs, mean over the sets both ran: points, 95 %, P(> 0). None when there is none.

        Bootstrap over pictures; a set and its cut have the same test pictures and are drawn together.
        """
        shared = [s for s in self.judged(theirs) if s in self.judged(ours)]
        if not shared:
            return None
        rng, drawn, columns, gains = np.random.default_rng(0), {}, [], []
        for s in shared:
            a, b = self.get(ours, s), self.get(theirs, s)
            gain, base = (a.right - b.right).astype(np.float32), a.pictures.test_name
            if base not in drawn:
                n = len(gain)
                drawn[base] = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float32) / n
            columns.append(drawn[base] @ gain)
            gains.append(gain.mean())
        points = 100 * np.mean(columns, axis=0)
        return {"sets": len(shared), "value": 100 * float(np.mean(gains)), **paired.interval(points)}

    def best_rival(self, name, ours):
        """The rival with the highest accuracy on a set."""
        judged = [c for (t, s), c in self.found.items() if s == name and t not in ours and c.right is not None]
        return max(judged, key=lambda cell: cell.top1).tool if judged else None
