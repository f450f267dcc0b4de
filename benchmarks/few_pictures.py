"""Which head to take when pictures are few? Rules of choice on the same candidates, judged on all other pictures.

    python benchmarks/few_pictures.py --sets SETS [--classes 2]

Draws of 5, 10 and 20 pictures per class, and of up to 600 pictures, from train and test together; what is not drawn is
test. With `--classes 2` every draw takes so many classes at random: few pictures in all, though many of each class.
What `fit` does beside other rules on the same candidates: the best head (`howmuch.choice.choose`), fewest features
within two standard errors of log-loss, lowest log-loss, highest accuracy, the last layer; a fixed head, and the mean of
all heads' logits, each also unless the best one is one or two paired standard errors (SE) ahead; the mean of those
level with the best, and of those that a greedy search picks. 14 minutes beside other work.
"""

import os
from functools import cache

import numpy as np
import record

SETS = ("nature", "gcompris", "elpv", "mnist5k", "digits8", "emoji_subgroup")
MOST = 600


def main():
    parser = record.arguments(__doc__)
    parser.add_argument("--only", nargs="+", default=list(SETS))
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--per-class", nargs="+", type=int, default=[5, 10, 20, 0], help="0: all, up to 600 pictures")
    parser.add_argument("--classes", type=int, help="classes of a draw, at random; all of them by itself")
    a = parser.parse_args()
    kept = record.Record("few-pictures", "rules for choosing a head, test top-1", a)
    os.environ["HEADSTART_CACHE"] = str(a.work / "few-pictures")
    for name in a.only:
        todo = [(p, k) for p in a.per_class for k in range(a.draws if p else 2)]
        todo = [(p, k) for p, k in todo if not kept.runs(set=name, per_class=p, draw=k)]
        seen = embeddings(a.sets / name) if todo else None
        for per_class, draw in todo:
            kept.add(
                set=name,
                per_class=per_class,
                draw=draw,
                **one_draw(*of_classes(seen, a.classes, draw), per_class, draw),
            )
    rules = [key for key in kept.runs()[0] if key not in ("set", "per_class", "draw")]
    rows, against = [], []
    for per_class in a.per_class:
        means = []
        for name in a.only:
            runs = kept.runs(set=name, per_class=per_class)
            rows.append((name, per_class or "all", *(100 * float(np.mean([r[rule] for r in runs])) for rule in rules)))
            means.append(rows[-1][2:])
        rows.append(("mean", per_class or "all", *np.mean(means, axis=0).tolist()))
        every = kept.runs(per_class=per_class)
        gains = {rule: 100 * np.array([r[rule] - r["best"] for r in every]) for rule in rules if rule != "best"}
        cells = [f"{g.mean():+.2f} ({g.std(ddof=1) / len(g) ** 0.5:.2f})" for g in gains.values()]
        against.append((per_class or "all", len(every), *cells))
    head = ("per class", "draws", *(rule for rule in rules if rule != "best"))
    tables = [("Against the best head, points (standard error over draws)", head, against)]
    tables.append(("Test top-1, %", ("set", "per class", *rules), rows))
    kept.finish({"sets": len(a.only)}, {}, tables)


def embeddings(folder):
    """Matrices per depth and labels of every usable picture of a set, train and test together."""
    from headstart import rules
    from headstart.backbone.backbone import open_backbone
    from headstart.cache_folder import cache_folder
    from headstart.data.scan import scan
    from headstart.looking import look
    from headstart.progress import Silent

    backbone = open_backbone(rules.backbone("auto").value, cache_folder())
    material = look(scan(folder), backbone, Silent())
    rows = np.sort(np.concatenate([material.learn, material.test]))
    return material.matrices(rows), material.samples.labels[rows], [d.name for d in backbone.depths]


def of_classes(seen, classes, draw):
    """The pictures of so many random classes, None or too many: of all."""
    matrices, labels, names = seen
    every = np.unique(labels)
    picked = np.random.default_rng([draw, 7]).permutation(every)[:classes]
    rows = np.flatnonzero(np.isin(labels, picked))
    return [m[rows] for m in matrices], labels[rows], names


def drawn(labels, per_class, draw):
    """Rows to train on: so many of every class, at least a quarter of each stays for the test; at most 600."""
    rng = np.random.default_rng([draw + 10, per_class])
    if not per_class:
        return np.sort(rng.permutation(len(labels))[: min(MOST, int(0.75 * len(labels)))])
    picked = []
    for c in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == c))
        picked.extend(rows[: min(per_class, len(rows) - max(1, len(rows) // 4))])
    return np.sort(rng.permutation(picked)[:MOST])


def one_draw(matrices, labels, names, per_class, draw):
    """Test accuracy of every rule on one draw."""
    from headstart import rules
    from headstart.data.split import make_split
    from headstart.evaluation.intervals import paired_standard_error
    from headstart.head.columns import columns_of
    from headstart.howmuch import probe as probing
    from headstart.howmuch.candidates import FIXED_PENALTY, fixed_set
    from headstart.howmuch.choice import judge_logits
    from headstart.howmuch.committee import fit_candidate, mean_of
    from headstart.howmuch.screen import Task, closed_logits

    train = drawn(labels, per_class, draw)
    classes, y = np.unique(labels[train], return_inverse=True)
    test = np.setdiff1d(np.flatnonzero(np.isin(labels, classes)), train)
    truth = np.searchsorted(classes, labels[test])
    largest = int(np.bincount(y).max())
    split = make_split(y, np.arange(len(y)), 0, rules.folds(largest).value, rules.repeats(len(y)).value)
    first, original = [], probing.choose

    def listen(candidates, judged):
        first.append((list(candidates), judged))
        return original(candidates, judged)

    probing.choose = listen
    try:
        fit = probing.probe([m[train] for m in matrices], names, y, len(classes), split.folds)
    finally:
        probing.choose = original
    judged, where = max(first, key=lambda call: len(call[0]))  # the others are of a kind or a depth only
    task = Task(columns_of([m[train] for m in matrices]), y, len(classes), split.folds)

    def logits_of(candidate):
        head = fit_candidate(task, candidate)
        return head.logits(np.concatenate([matrices[i][test] for i in candidate.depths], axis=1))

    @cache
    def calm(at):
        return logits_of(judged[at].candidate) / judged[at].candidate.temperature

    def right(logits):
        return float((logits.argmax(axis=1) == truth).mean())

    def together(members):
        return right(np.mean([calm(at) for at in members], axis=0))

    few = fixed_set(len(names))
    logits = closed_logits(task, [few], ["ridge"], [FIXED_PENALTY])[0]
    fixed = judge_logits(task, names, few, logits, ("ridge", FIXED_PENALTY, 0.0, None))
    mean = mean_of(task, names, judged, None)
    best, last = original(judged, where), [j for j in judged if j.candidate.depths == (len(names) - 1,)]
    alone = {
        "best": best,
        "fewest features": fewest(judged, where),
        "log-loss": min(judged, key=lambda j: j.candidate.nll),
        "accuracy": max(judged, key=lambda j: (j.candidate.top1, -j.candidate.nll)),
        "last layer": original(last, where),
        "fixed": fixed,
    }
    for rival, name in ((fixed, "fixed"), (mean, "mean")):
        error = paired_standard_error(best.correct[where], rival.correct[where])
        for errors in (1, 2):
            ahead = best.candidate.top1 - rival.candidate.top1 > errors * error
            alone[f"{name} unless best is {errors} SE ahead"] = best if ahead else rival
    found = {"fit": right(fit.head.logits(np.concatenate([matrices[i][test] for i in fit.chosen.depths], axis=1)))}
    found |= {rule: right(logits_of(j.candidate)) for rule, j in alone.items()}
    committees = {"mean": range(len(judged)), "mean of level": level_heads(judged, where)}
    committees["greedy"] = greedy(judged, where, y)
    return found | {rule: together(list(members)) for rule, members in committees.items()}


def level_heads(judged, where):
    """Positions of the heads level with the most accurate one within a paired standard error."""
    from headstart.evaluation.intervals import paired_standard_error

    best = max(judged, key=lambda j: (j.candidate.top1, -j.candidate.nll))
    return [
        at
        for at, j in enumerate(judged)
        if best.candidate.top1 - j.candidate.top1
        <= paired_standard_error(best.correct[where], j.correct[where]) + 1e-12
    ]


def greedy(judged, where, labels, steps=10):
    """Positions of the heads, with repeats, whose mean has the lowest log-loss out of fold (Caruana et al. 2004)."""
    from headstart.evaluation.metrics import row_nll

    total, picked = np.zeros_like(judged[0].logits[where]), []
    for step in range(steps):
        losses = [row_nll((total + j.logits[where]) / (step + 1), labels[where]).mean() for j in judged]
        picked.append(int(np.argmin(losses)))
        total = total + judged[picked[-1]].logits[where]
    return picked


def fewest(judged, where):
    """Of the heads level in accuracy (one paired standard error) and log-loss (two) the one of fewest features."""
    from headstart.evaluation.intervals import paired_standard_error as error

    best = max(judged, key=lambda j: (j.candidate.top1, -j.candidate.nll))
    level = [
        j
        for j in judged
        if best.candidate.top1 - j.candidate.top1 <= error(best.correct[where], j.correct[where]) + 1e-12
    ]
    sharpest = min(level, key=lambda j: j.candidate.nll)
    level = [
        j
        for j in level
        if j.candidate.nll - sharpest.candidate.nll <= 2 * error(j.losses[where], sharpest.losses[where]) + 1e-12
    ]
    return min(level, key=lambda j: (j.candidate.dim, j.candidate.nll))


if __name__ == "__main__":
    main()
