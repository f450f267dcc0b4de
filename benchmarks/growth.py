"""Growth: time and memory of `fit --train head` with 1,000 to 100,000 pictures and with 2, 100 and 1,000 classes.

    python benchmarks/growth.py [--minutes 55] [--page docs/speed.md]

Generated pictures (growth_pictures.py), one file whatever the number of classes. A cell is a number of pictures and a
number of classes with five pictures per class at least; its run is a process of its own with the network's graph ready.
With the first number of classes every vector is computed; the other numbers find them in the cache, so that only what
follows differs. The exponent of a phase is the slope of its seconds over pictures, on logarithms: over all numbers of
pictures, and between the two largest. `n log n` has 1.09 between 20,000 and 100,000. Phases shorter than a second with
most pictures are not judged. Stopped (or out of `--minutes`), it goes on when it is called again in the same way.
23 minutes on two cores (Intel Xeon; 37, AMD EPYC), 4 GB in --work, and a minute to generate each 50,000 pictures.
"""

import math
import shutil
import time
from pathlib import Path

import child
import growth_cell
import growth_chart
import growth_pictures
import headstart_fit
import numpy as np
import pages
import pictures
import quiet
import record

PICTURES, CLASSES = (1000, 5000, 20_000, 100_000), (100, 2, 1000)
FEWEST = 5  # pictures of a class
SHORT = 1.0  # seconds with most pictures; the exponent of less says little
STEEPEST = 1.15  # n log n, and some noise
MOST_GB = 1.5
WHOLE, PHASES, MEMORY = "Whole process", "Seconds by phase, {} classes", "Peak of the resident MB by phase, {} classes"


def main():
    parser = record.arguments(__doc__, needs_sets=False)
    parser.add_argument("--pictures", nargs="*", type=int, default=list(PICTURES), metavar="N", help="[%(default)s]")
    parser.add_argument("--classes", nargs="*", type=int, default=list(CLASSES), metavar="K", help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--megapixels", type=float, default=0.08)
    parser.add_argument("--minutes", type=float, help="start nothing that will not be over after so many minutes")
    parser.add_argument("--longest", type=float, default=60.0, help="minutes after which a run is killed [%(default)s]")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--page", type=Path, help="Markdown page that gets the tables, between its two marks")
    a = parser.parse_args()
    began = time.monotonic()
    kept = record.Record("growth", "Growth: time and memory by pictures and classes", a)
    work = a.work / "growth"
    source = growth_pictures.generate(work / "pictures", max(a.pictures), a.megapixels)
    for k, n, classes in cells(a):
        if kept.runs(round=k, pictures=n, classes=classes):
            continue
        if a.minutes is not None and time.monotonic() - began + forecast(kept, n, classes) > 60 * a.minutes:
            print("the time is up; what is finished is kept, call again in the same way to go on", flush=True)
            return
        prepare(work, source, n, classes, a)
        load = quiet.wait_until_quiet(kept, a.patience)
        env = child.environment(work / "home", work / f"cache-{n}")
        found = growth_cell.fit(work / "data", work / "run", env, 60 * a.longest)
        kept.add(round=k, pictures=n, classes=classes, load_before=load, **found)
    summarise(kept, a)
    if a.page:
        publish(kept.folder, a.page, a)


def cells(a):
    """(round, pictures, classes), fewest pictures first; the first number of classes before the others."""
    for k in range(a.rounds):
        for n in sorted(a.pictures):
            for classes in a.classes:
                if n >= FEWEST * classes:
                    yield k, n, classes


def forecast(kept, n, classes):
    """Seconds that a cell may take, from what is measured: pictures count fully, classes by their root."""
    costs = [
        (run["pictures"], run["wall"] / (run["pictures"] * math.sqrt(run["classes"])))
        for run in kept.runs()
        if "failed" not in run
    ]
    near = [cost for before, cost in costs if 10 * before >= n]  # a thousand pictures are mostly start
    return max(near, default=0.02 / math.sqrt(classes)) * n * math.sqrt(classes)


def prepare(work, source, n, classes, a):
    """The folder of the classes, and a cache: with the graph only for the first number of classes."""
    growth_pictures.arranged(source, work / "data", n, classes)
    cache = work / f"cache-{n}"
    if classes == a.classes[0] or not cache.exists():
        other = pictures.generate(work / "pictures-other", 70, a.megapixels, seed=1)
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(headstart_fit.graph_cache(work, other), cache)
        shutil.rmtree(cache / "embeddings", ignore_errors=True)


def summarise(kept, a):
    counts = sorted(a.pictures)
    runs = {(n, classes): median_run(kept.runs(pictures=n, classes=classes)) for _, n, classes in cells(a)}
    summary, tables = {}, [whole_table(kept, runs)]
    for classes in a.classes:
        some = {n: runs[n, classes] for n in counts if (n, classes) in runs}
        if not some:
            continue
        found = exponents(some)
        summary[str(classes)] = {"exponents": found, "runs": some}
        judge(kept, classes, some, found)
        tables += [phases_table(classes, some, found), memory_table(classes, some)]
    if len(a.classes) > 1:
        tables.append(classes_table(runs))
    notes(kept, a)
    drawn = growth_chart.chart(runs, a.classes[0], MOST_GB)
    (kept.folder / "growth.svg").write_text(drawn, "utf-8")
    kept.finish({"pictures": counts, "classes": list(a.classes), "rounds": a.rounds}, summary, tables)


def median_run(runs):
    """One run for the rounds of a cell: medians of its numbers; None when one of them failed."""
    if any("failed" in run for run in runs):
        return None
    return median([{key: run[key] for key in ("wall", "cpu", "peak_mb", "top1", "phases", "memory")} for run in runs])


def median(values):
    """The median of numbers, also inside of dictionaries."""
    if isinstance(values[0], dict):
        return {key: median([value.get(key) for value in values]) for key in values[0]}
    numbers = [value for value in values if value is not None]
    return float(np.median(numbers)) if numbers else None


def exponents(some):
    """{phase: slope over all numbers of pictures, slope between the two largest}; a failed run has no slope."""
    done = {n: run for n, run in some.items() if run is not None}
    names = done[min(done)]["phases"] if done else ()
    found = {}
    for name in (*names, "whole"):
        points = [(n, seconds_of(run, name)) for n, run in done.items()]
        points = [(n, s) for n, s in points if s is not None and s > 0]
        found[name] = {"all": slope(points), "last": slope(points[-2:])}
    return found


def seconds_of(run, phase):
    return run["wall"] if phase == "whole" else run["phases"].get(phase)


def slope(points):
    """By least squares on logarithms; None for less than two points."""
    if len(points) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(points)).T, 1)[0])


def judge(kept, classes, some, found):
    """The steepest phase between the two largest numbers, and the memory with most pictures."""
    most = max(some)
    run = some[most]
    if failed := [n for n in some if some[n] is None]:
        kept.target(f"{classes} classes: runs that did not end, of {len(some)}", len(failed), at_most=0)
    if run is None:
        return
    kept.target(f"{most:,} pictures, {classes} classes: peak memory, GB", gigabytes(run), at_most=MOST_GB)
    long = {name: found[name]["last"] for name in run["phases"] if run["phases"][name] >= SHORT}
    long = {name: value for name, value in long.items() if value is not None}
    if long:
        steepest = max(long, key=long.get)
        two = " to ".join(f"{n:,}" for n in sorted(some)[-2:])
        what = f"{classes} classes: exponent of the steepest phase ({steepest}), {two} pictures"
        kept.target(what, long[steepest], at_most=STEEPEST)


def gigabytes(run):
    return run["peak_mb"] * 2**20 / 1e9


def whole_table(kept, runs):
    header = ("pictures", "classes", "wall s", "CPU s", "pictures/s", "peak GB", "right %", "vectors", "copies found")
    rows = []
    for n, classes in runs:
        run, last = runs[n, classes], kept.runs(pictures=n, classes=classes)[-1]
        if run is None:
            rows.append((n, classes, last["failed"], *[None] * 6))
            continue
        shown = (f"{run['wall']:.1f}", f"{run['cpu']:.1f}", f"{n / run['wall']:.0f}", f"{gigabytes(run):.2f}")
        vectors = "computed" if last["computed"] else "from the cache"
        rows.append((n, classes, *shown, f"{100 * run['top1']:.1f}", vectors, last["copies"]))
    return WHOLE, header, rows


def phases_table(classes, some, found):
    header = ("phase", *(f"{n:,} pictures" for n in some), "exponent, all", "exponent, last two")
    rows = []
    for name, slopes in found.items():
        seconds = [None if run is None else seconds_of(run, name) for run in some.values()]
        shown = [None if s is None else f"{s:.2f}" for s in (*seconds, slopes["all"], slopes["last"])]
        rows.append((name, *shown))
    return PHASES.format(classes), header, rows


def memory_table(classes, some):
    header = ("phase", *(f"{n:,} pictures" for n in some))
    names = next((run["memory"] for run in some.values() if run is not None), {})
    cells_ = [[run and run["memory"].get(name) for run in some.values()] for name in names]
    rows = [(name, *(mb and f"{mb:.0f}" for mb in row)) for name, row in zip(names, cells_, strict=True)]
    return MEMORY.format(classes), header, rows


def classes_table(runs):
    """Seconds by phase and number of classes, with the most pictures that every number of classes has."""
    done = {key: run for key, run in runs.items() if run is not None}
    numbers = sorted({classes for _, classes in runs})
    full = [n for n, _ in done if all((n, classes) in done for classes in numbers)]
    title, header = "Seconds by phase and number of classes", ("phase", *(f"{k:,} classes" for k in numbers))
    if not full:
        return title, header, []
    n = max(full)
    some = {classes: done[n, classes] for classes in numbers}
    names = [*some[numbers[0]]["phases"], "whole"]
    rows = [(name, *(f"{seconds_of(some[k], name) or 0.0:.2f}" for k in numbers)) for name in names]
    return f"{title}, {n:,} pictures", header, rows


def notes(kept, a):
    kept.note("![seconds by phase and memory over pictures](growth.svg)")
    kept.note(
        f"judged: phases of at least {SHORT:g} s with most pictures; n log n, with {STEEPEST - 1.09:.2f} for noise"
    )
    kept.note("docs/profile.md says what a phase is; embed: pass is one pass over the pictures, all its parts together")
    kept.note("inspect and explain look at some pictures only, for as long as the budget allows")
    kept.note(
        "GB: 1e9 bytes, the largest process, the kernel's figure; by phase: sampled four times a second, MB of 2^20"
    )
    foreign = max((run["foreign"] or 0.0 for run in kept.runs()), default=0.0)
    if foreign > quiet.LIMIT:
        kept.note(f"others used up to {foreign:.0%} of the cores during a run: its seconds are no measurement")
    cold = [run["pictures"] for run in kept.runs(classes=a.classes[0]) if run.get("cached")]
    if cold:
        kept.note(f"with {max(cold):,} pictures some vectors came from the cache where all should have been computed")


def publish(folder, page, a):
    """The whole processes, the phases with the first number of classes, and the chart."""
    tables = pages.sections(folder)
    told = f"`benchmarks/growth.py` ([record]({pages.link(folder / 'record.md', page)})):"
    drawn = f"![seconds by phase and memory over pictures]({pages.link(folder / 'growth.svg', page)})"
    phases = PHASES.format(a.classes[0])
    pages.put(page, "growth", [told, tables[WHOLE], drawn, f"{phases}:", tables[phases]])


if __name__ == "__main__":
    main()
