"""Is the accuracy that `fit` reports the accuracy users get? Every choice of the grid, beside its test pictures.

    python benchmarks/deciding_reported.py        prints it for the choices that the repository keeps

The figure of `result.json` was estimated on the pictures to learn from alone; the test pictures are all others of the
set, which nothing has seen. A 95 % interval that is right has the true figure inside 19 times of 20.
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
    """(pictures to learn from, reported minus true in points, inside, met, width of the interval) per choice.

    `inside`: the interval holds the test figure; `met`: or some of the two standard errors around that, which is
    itself uncertain where test pictures are few.
    """
    rows = []
    for e in entries:
        told, true = e["accuracy"], e["top1"]
        doubt = 2.0 * float(np.sqrt(true * (1.0 - true) / e["n"]))
        inside = told["low"] <= true <= told["high"]
        met = told["low"] - doubt <= true <= told["high"] + doubt
        rows.append((e["train_n"], 100.0 * (told["top1"] - true), inside, met, 100.0 * (told["high"] - told["low"])))
    return rows


def table(entries):
    """Title, header and rows, by the number of pictures to learn from."""
    found = rows_of(entries)
    header = (
        "learnt from",
        "choices",
        "reported minus true, mean",
        "off by, median",
        "inside its interval",
        "or within 2 SE of the test",
        "width, median",
    )
    groups = [(name, [r for r in found if low <= r[0] <= high]) for low, high, name in SIZES]
    rows = []
    for name, mine in [*groups, ("all", found)]:
        if not mine:
            continue
        errors = np.array([r[1] for r in mine])
        held = [f"{sum(r[at] for r in mine)} of {len(mine)}" for at in (2, 3)]
        off, width = np.median(np.abs(errors)), np.median([r[4] for r in mine])
        rows.append((name, len(mine), f"{errors.mean():+.2f}", f"{off:.2f}", *held, f"{width:.1f}"))
    return REPORTED, header, rows


def note(entries):
    """One line: the mean difference with its spread, and how often the interval holds."""
    found = rows_of(entries)
    spread = record.span(record.spread([r[1] for r in found]))
    held = f"{sum(r[2] for r in found)} of {len(found)}"
    return f"accuracy that `fit` reports minus test accuracy, points: {spread}; its interval holds that {held} times"


if __name__ == "__main__":
    main()
