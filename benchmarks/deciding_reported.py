"""Is the accuracy that `fit` reports the accuracy users get? Every choice of the grid, beside its test pictures.

    python benchmarks/deciding_reported.py        prints it for the choices that the repository keeps

The figure of `result.json` was estimated on the pictures to learn from alone; the test pictures are all others of the
set, which nothing has seen. An interval that holds has the test figure inside 19 times of 20.
"""

import numpy as np
import record
from deciding_entries import packed

SIZES = ((1, 60, "10 to 50 pictures"), (61, 250, "100 to 200"), (251, 600, "430 to 600"))
REPORTED = "Reported and true accuracy of the choices, points"


def main():
    choices = [entry for entry in packed().values() if entry["part"] == "choice"]
    title, header, rows = table(choices)
    print("\n".join([title, *(" | ".join(map(str, row)) for row in (header, *rows))]))
    print(note(choices))
    print("commits:", ", ".join(sorted({(entry["commit"] or "none")[:9] for entry in choices})))


def rows_of(entries):
    """(pictures to learn from, reported minus true in points, whether the interval holds, its width) per choice.

    A test figure is itself uncertain: the interval counts as holding when it meets the two standard errors around it.
    """
    rows = []
    for e in entries:
        told, true = e["accuracy"], e["top1"]
        doubt = 2.0 * float(np.sqrt(true * (1.0 - true) / e["n"]))
        holds = told["low"] - doubt <= true <= told["high"] + doubt
        rows.append((e["train_n"], 100.0 * (told["top1"] - true), holds, 100.0 * (told["high"] - told["low"])))
    return rows


def table(entries):
    """Title, header and rows, by the number of pictures to learn from."""
    found = rows_of(entries)
    header = (
        "learnt from",
        "choices",
        "reported minus true, mean",
        "off by, median",
        "interval holds",
        "its width, median",
    )
    groups = [(name, [r for r in found if low <= r[0] <= high]) for low, high, name in SIZES]
    rows = []
    for name, mine in [*groups, ("all", found)]:
        if not mine:
            continue
        errors = np.array([r[1] for r in mine])
        held = sum(r[2] for r in mine)
        off, width = np.median(np.abs(errors)), np.median([r[3] for r in mine])
        rows.append((name, len(mine), f"{errors.mean():+.2f}", f"{off:.2f}", f"{held} of {len(mine)}", f"{width:.1f}"))
    return REPORTED, header, rows


def note(entries):
    """One line: the mean difference with its spread, and how often the interval holds."""
    found = rows_of(entries)
    spread = record.span(record.spread([r[1] for r in found]))
    held = f"{sum(r[2] for r in found)} of {len(found)}"
    return f"accuracy that `fit` reports minus test accuracy, points: {spread}; its interval holds {held} times"


if __name__ == "__main__":
    main()
