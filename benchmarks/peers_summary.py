"""The record of the side-by-side runs: verdicts, one table per set, what was thrown away, the chart."""

import shutil

import peers_chart
import peers_environments
import peers_runs
import peers_tools
import record
from peers_score import Cells
from peers_tools import BUDGET, EXPERT, FEW_SHOT, FROZEN, FULL, HEAD, OURS, TOOLS, TUTORIAL

LIMITS = {EXPERT: 0.45, FEW_SHOT: 0.25, FROZEN: 1 / 20, TUTORIAL: 1 / 20}  # wall of HEAD over theirs
SURE = 0.95
FIGURES = ("wall", "cpu", "peak_mb", "tree_mb", "whole_mb")
HEADER = (
    "tool", "lines", "runs", "wall, s", "CPU, s", "peak, MB", "tree, MB", "whole, MB", "test top-1, %", "95 %",
    "--train head minus it", "--budget 5m minus it", "wall / that of --train head",
)  # fmt: skip


def summarise(a, plan):
    """Print and record what is there; a part of the grid stays in the work folder unless it is asked for (`--keep`)."""
    cells = Cells(plan)
    if not cells.found:
        raise SystemExit("nothing has run yet")
    whole = not (cells.waiting or a.only) and set(a.tools) == set(TOOLS)
    if not (whole or a.keep):
        a.records = plan.work / "partial"
        shutil.rmtree(a.records, ignore_errors=True)
    kept = record.Record("peers", "headstart and its rivals side by side", a)
    kept.content["runs"] = [run for cell in cells.found.values() for run in cell.runs] + cells.failed
    if not whole:
        kept.note("ONLY A PART of the tools and sets was asked for")
    targets(kept, cells)
    remarks(kept, cells, plan)
    (kept.folder / "chart.svg").write_text(peers_chart.chart(cells), "utf-8")
    tables = [set_table(cells, s) for s in cells.sets]
    tables += [gain_table(cells), epoch_table(cells), tool_table(cells)]
    n = {s: next(len(c.pictures.test) for (_, name), c in cells.found.items() if name == s) for s in cells.sets}
    kept.finish(n, summary(cells), [table for table in tables if table[2]])
    page = kept.folder / "record.md"
    shown = "![Test accuracy against seconds, one mark per run](chart.svg)"
    page.write_text(page.read_text("utf-8").replace("\n## ", f"\n{shown}\n\n## ", 1), "utf-8")


def targets(kept, cells):
    """What must be reached; a comparison whose runs are not there yet is not listed."""
    for name in (s for s in FULL if s in cells.sets):
        for rival, limit in LIMITS.items():
            if ratio := cells.ratios(HEAD, rival, name):
                kept.target(f"{name}: wall of {HEAD} / wall of {rival}", ratio["median"], at_most=limit)
                what = f"{name}: accuracy of {HEAD} minus {rival}, upper end of the paired 95 %, points"
                kept.target(what, cells.upper(HEAD, rival, name), at_least=0.0)
    for rival in (t for t in cells.tools if t not in OURS):
        if gain := cells.mean_gain(BUDGET, rival):
            what = f"P(accuracy of {BUDGET} > {rival}), mean of {gain['sets']} sets ({gain['value']:+.2f} points)"
            kept.target(what, gain["p"], at_least=SURE)
    for name in cells.judged(BUDGET):
        if (best := cells.best_rival(name, OURS)) is not None:
            what = f"{name}: accuracy of {BUDGET} minus the best rival's ({best}), upper end of the paired 95 %, points"
            kept.target(what, cells.upper(BUDGET, best, name), at_least=0.0)
    for name in cells.sets:
        peaks = {t: c.values("peak_mb") for (t, s), c in cells.found.items() if s == name}
        rivals = [min(p) for t, p in peaks.items() if t not in OURS]
        for ours in (t for t in OURS if t in peaks and rivals):
            ratio = max(peaks[ours]) / min(rivals)
            kept.target(f"{name}: largest peak memory of {ours} / smallest of any rival", ratio, at_most=1.0)
        wholes = {t: c.values("whole_mb") for (t, s), c in cells.found.items() if s == name and c.values("whole_mb")}
        rivals = [min(p) for t, p in wholes.items() if t not in OURS]
        for ours in (t for t in OURS if t in wholes and rivals):
            what = f"{name}: memory of {ours}, workers included / smallest of {len(rivals)} rivals"
            kept.target(what, max(wholes[ours]) / min(rivals), at_most=1.0)


def remarks(kept, cells, plan):
    for name, reason in plan.missing.items():
        kept.note(f"NOT MEASURED, the environment of {name} cannot be had here: {reason}")
    if cells.waiting:
        kept.note(f"NOT THE WHOLE GRID: {len(cells.waiting)} runs are missing")
    for run in cells.failed:
        kept.note(f"FAILED: {run['tool']} on {run['set']}, round {run['round']}: {run['failed']}")
    gone = peers_runs.thrown_away(plan.work)
    told = ", ".join(f"{run['tool']} on {run['set']} ({run['foreign']:.0%})" for run in gone)
    kept.note(f"{len(gone)} runs were thrown away for foreign load above 5 %{': ' if told else ''}{told}")
    runs = kept.content["runs"]
    commits = sorted({f"{(r['commit'] or 'none')[:9]}{' and changes' if r['changed'] else ''}" for r in runs})
    kept.note(f"runs from {min(r['at'] for r in runs)} to {max(r['at'] for r in runs)}, commits {', '.join(commits)}")
    for ours in OURS:
        versions = len({r["code"] for r in runs if r["tool"] == ours})
        if versions > 1:
            kept.note(f"the runs of {ours} are of {versions} versions of headstart's code")
    if plan.weights:
        same = ", ".join(plan.weights)
        kept.note(f"the same pretrained tensors, loaded and compared in the environments of {same}")
    kept.note("wall, CPU, memory: median (lowest-highest) of whole processes, training and test pictures, caches empty")
    kept.note("peak: the largest process; tree: all, shared pages once per process; whole: all, shared pages once")
    kept.note("accuracy: mean over runs, interval over test pictures; differences in points +- paired standard error")
    kept.note("the files as they are: headstart puts transparent pictures on white, the rivals' loaders drop alpha")


def set_table(cells, name):
    """One row per tool, the quickest first."""
    mine = sorted((c for (_, s), c in cells.found.items() if s == name), key=lambda c: c.spread("wall")["median"])
    rows = []
    for cell in mine:
        tool = TOOLS[cell.tool]
        figures = (record.span(cell.spread(f)) if cell.values(f) else None for f in FIGURES)
        accuracy = accuracy_cells(cell)
        against = [minus(cells, ours, cell.tool, name) for ours in (HEAD, BUDGET)]
        ratio = cells.ratios(cell.tool, HEAD, name)
        slower = None if ratio is None or cell.tool == HEAD else f"{ratio['median']:.1f}"
        rows.append((tool.says, tool.lines(), len(cell.runs), *figures, *accuracy, *against, slower))
    pictures = mine[0].pictures
    return f"{name}: {len(pictures.train)} training pictures, {len(pictures.test)} test", HEADER, rows


def accuracy_cells(cell):
    if cell.right is None:
        return None, None
    low, high = cell.interval()
    return f"{100 * cell.top1:.1f}", f"{100 * low:.1f}-{100 * high:.1f}"


def minus(cells, ours, theirs, name):
    found = None if ours == theirs else cells.difference(ours, theirs, name)
    return None if found is None else f"{100 * found[0]:+.1f} +- {100 * found[1]:.1f}"


def gain_table(cells):
    header = ("rival", "sets", *(f"{ours} minus it, points (95 %, P > 0)" for ours in OURS))
    rows = []
    for rival in (t for t in cells.tools if t not in OURS):
        found = [cells.mean_gain(ours, rival) for ours in OURS]
        if any(found):
            rows.append((rival, max(f["sets"] for f in found if f), *map(gained, found)))
    return "Mean gain over the sets that the rival ran", header, rows


def gained(found):
    if found is None:
        return None
    return f"{found['value']:+.2f} ({found['low']:.2f} to {found['high']:.2f}, {found['p']:.3f})"


def epoch_table(cells):
    """Tools without accuracy: what an epoch takes once warm, and all epochs of their recipe."""
    rows = []
    for (tool, name), cell in cells.found.items():
        if timed := [r for r in cell.runs if r.get("epoch_seconds")]:
            later = record.spread([r["epoch_seconds"][-1] for r in timed])
            epochs = timed[0]["epochs"]
            rows.append((TOOLS[tool].says, name, record.span(later), epochs, f"{epochs * later['median']:.0f}"))
    return "Seconds per epoch only", ("tool", "set", "a warm epoch, s", "epochs of the recipe", "all of them, s"), rows


def tool_table(cells):
    """What was run, and the pinned versions of what it is."""
    rows = []
    for name in cells.tools:
        tool = TOOLS[name]
        if tool.script is None:
            rows.append((name, f"`{tool.says}`", "this commit"))
            continue
        pinned = peers_environments.main_packages(tool.environment)
        packages = ", ".join(f"{package} {version}" for package, version in pinned.items())
        rows.append((name, f"`{' '.join(('peers/' + tool.script, *tool.how))}`", packages))
    return "What ran", ("tool", "script", "packages"), rows


def summary(cells):
    """The figures that README and other pages may quote."""
    found = {}
    for (tool, name), cell in cells.found.items():
        figures = {f: cell.spread(f) for f in FIGURES if cell.values(f)}
        top1 = {} if cell.right is None else {"top1": cell.top1, "interval": cell.interval()}
        found.setdefault(name, {})[tool] = {**figures, **top1, "lines": peers_tools.TOOLS[tool].lines()}
    rivals = [t for t in cells.tools if t not in OURS]
    gains = {ours: {rival: cells.mean_gain(ours, rival) for rival in rivals} for ours in OURS}
    return {"sets": found, "mean gain": gains}
