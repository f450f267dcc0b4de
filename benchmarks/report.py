"""The page of a run: seconds in a fresh process, pictures shown, megabytes.

    python benchmarks/report.py --sets SETS [--runs 3]

The solar cells of the package elpv-dataset (2,624 pictures, two classes) and the emoji (86 classes) are fitted with a
new head, then the page is made again and again, every time by a new process. Two minutes.
"""

import re
import shutil

import child
import quiet
import record

CODE = """
import sys
from pathlib import Path
from headstart.reporting.report import write_report
from headstart.run import Run
print(write_report(Run(Path(sys.argv[1]))))
"""
SECONDS, PER_PICTURE, BYTES = 3.0, 0.02, 6e6


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    a = parser.parse_args()
    kept = record.Record("report", "The page of a run", a)
    env = child.environment(a.work / "report" / "home", a.work / "report" / "cache")
    for name in ("cells", "emoji_subgroup"):
        run = fitted(name, a, env)
        quiet.wait_until_quiet(kept)
        for k in range(a.runs):
            if not kept.runs(set=name, run=k):
                done = child.run([child.PYTHON, "-c", CODE, run], env)
                page = (run / "report.html").read_text("utf-8")
                shown = len(re.findall(r"<img ", page)) - len(re.findall(r'<img class="heat"', page))
                facts = {"shown": shown, "bytes": len(page.encode()), "n": rows_of(run)}
                kept.add(set=name, run=k, wall=done.wall, cpu=done.cpu, peak_mb=done.peak_mb, **facts)
    summarise(kept)


def fitted(name, a, env):
    """The run of a set, made once."""
    run = a.work / "report" / name
    if not (run / "result.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        run.parent.mkdir(parents=True, exist_ok=True)
        data = a.sets / name if name != "cells" else table_of_cells(run.parent / "cells.csv")
        child.run([*child.HEADSTART, "fit", data, "--out", run, "--train", "head"], env)
    return run


def table_of_cells(path):
    from headstart.data.solar_cells import manifest

    path.write_bytes(manifest().encode("utf-8", "surrogateescape"))
    return path


def rows_of(run):
    return len((run / "predictions.csv").read_text("utf-8").splitlines()) - 1


def summarise(kept):
    rows, summary = [], {}
    for name in ("cells", "emoji_subgroup"):
        runs = kept.runs(set=name)
        wall, first = record.spread(r["wall"] for r in runs), runs[0]
        summary[name] = {"wall": wall, "shown": first["shown"], "bytes": first["bytes"]}
        rows.append((name, first["n"], first["shown"], record.span(wall), f"{first['bytes'] / 1e6:.2f}"))
        allowed = SECONDS + PER_PICTURE * first["shown"]
        kept.target(f"{name}: seconds, 3 and 0.02 per picture shown", wall["median"], at_most=allowed)
        kept.target(f"{name}: bytes", first["bytes"], at_most=BYTES)
    header = ("set", "held-out pictures", "pictures shown", "seconds", "MB")
    kept.finish({name: kept.runs(set=name)[0]["n"] for name in summary}, summary, [("", header, rows)])


if __name__ == "__main__":
    main()
