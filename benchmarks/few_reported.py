"""What `fit` reports on few pictures, beside what is true: the same draws as `few_pictures.py`, frozen heads only.

    python benchmarks/few_reported.py --sets SETS [--classes 2] [--shuffled]

Reported: the figure of the mean of heads (`howmuch.corrected_mean`); for comparison that of the best head corrected for
having been chosen (BBC-CV), and what the mean itself gets right out of fold, uncorrected. True: the accuracy of the
saved head on all pictures that were not drawn. With `--shuffled` labels mean nothing, and figures above what is true
are luck that was left in. Nine minutes beside other work, with two classes four.
"""

import os

import few_pictures
import numpy as np
import record

KINDS = ("reported", "best head corrected", "uncorrected")


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=list(few_pictures.SETS))
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--per-class", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--classes", type=int, help="classes of a draw, at random; all of them by itself")
    parser.add_argument("--shuffled", action="store_true", help="labels that mean nothing")
    a = parser.parse_args()
    kept = record.Record("few-reported", "what is reported on few pictures", a)
    os.environ["HEADSTART_CACHE"] = str(a.work / "few-pictures")
    for name in a.only:
        todo = [(p, k) for p in a.per_class for k in range(a.draws) if not kept.runs(set=name, per_class=p, draw=k)]
        seen = few_pictures.embeddings(a.sets / name) if todo else None
        for per_class, draw in todo:
            pictures = few_pictures.of_classes(seen, a.classes, draw)
            if a.shuffled:
                pictures = pictures[0], np.random.default_rng([draw, 3]).permutation(pictures[1]), pictures[2]
            kept.add(set=name, per_class=per_class, draw=draw, **one_draw(*pictures, per_class, draw))
    rows = [line(name, kept.runs(set=name)) for name in a.only]
    rows += [line(f"{p} per class", kept.runs(per_class=p)) for p in a.per_class]
    rows.append(line("all", kept.runs()))
    head = ("draws", "runs", *(f"{kind} minus true, points (SE)" for kind in KINDS), "in the interval", "width, points")
    kept.finish({"sets": len(a.only)}, {}, [("Reported and true accuracy", head, rows)])


def line(name, runs):
    """Means over runs, with standard errors of the differences."""
    cells = []
    for kind in KINDS:
        off = 100 * np.array([r[kind] - r["true"] for r in runs])
        cells.append(f"{off.mean():+.1f} ({off.std(ddof=1) / len(off) ** 0.5:.1f})")
    inside = sum(r["low"] <= r["true"] <= r["high"] for r in runs)
    width = 100 * float(np.mean([r["high"] - r["low"] for r in runs]))
    return (name, len(runs), *cells, f"{inside} of {len(runs)}", f"{width:.1f}")


def one_draw(matrices, labels, names, per_class, draw):
    """What is reported in three ways, and the test accuracy of the same head."""
    from headstart import rules
    from headstart.data.split import make_split
    from headstart.howmuch import probe as probing

    train = few_pictures.drawn(labels, per_class, draw)
    classes, y = np.unique(labels[train], return_inverse=True)
    test = np.setdiff1d(np.flatnonzero(np.isin(labels, classes)), train)
    largest = int(np.bincount(y).max())
    split = make_split(y, np.arange(len(y)), 0, rules.folds(largest).value, rules.repeats(len(y)).value)

    def probe():
        return probing.probe([m[train] for m in matrices], names, y, len(classes), split.folds)

    found, original = probe(), probing.corrected_mean
    probing.corrected_mean = lambda *_: None  # then the figure is that of the best head
    try:
        before = probe()
    finally:
        probing.corrected_mean = original
    logits = found.head.logits(np.concatenate([matrices[i][test] for i in found.chosen.depths], axis=1))
    return {
        "true": float((logits.argmax(axis=1) == np.searchsorted(classes, labels[test])).mean()),
        "reported": found.corrected_top1,
        "best head corrected": before.corrected_top1,
        "uncorrected": found.chosen.top1,
        "low": found.corrected_low,
        "high": found.corrected_high,
    }


if __name__ == "__main__":
    main()
