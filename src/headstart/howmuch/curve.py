"""The learning curve: the chosen head on 25, 50, 75 and 100 % of every fold's training pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.howmuch.candidates import Candidate
from headstart.howmuch.committee import fit_candidate
from headstart.howmuch.screen import Task

IntArray = NDArray[np.integer]

SHARES = (0.25, 0.5, 0.75)
LARGE = 8_000_000  # cells above which one fold says enough
DEAR = 100_000_000  # the same for logistic regression, whose cost grows with the classes: cells x classes


def learning_curve(task: Task, chosen: Candidate, seed: int) -> tuple[tuple[int, float], ...]:
    """(training pictures, out-of-fold top-1) by rising size; the last point is the cross-validated figure itself.

    Folds of the first repeat; subsets are nested and keep every class that a fold's training side holds. Heads that
    take long, and means of many, are fitted on fewer sizes and folds.
    """
    folds = task.folds[0]
    parts = [int(f) for f in np.unique(folds) if f >= 0]
    cells = task.columns.n * chosen.dim
    dear = chosen.kind == "logistic" and cells * task.n_classes > DEAR
    few = len(chosen.members) > 0  # a head of many heads
    used = parts[:1] if cells > LARGE else parts[:2] if dear else parts[:3] if few else parts
    rng = np.random.default_rng(seed)
    points = []
    orders = {fold: _stratified(task.labels, np.flatnonzero(folds != fold), rng) for fold in used}
    for share in SHARES[:2] if dear or few else SHARES:
        sizes, right, count = [], 0, 0
        for fold in used:
            rows = _first(task.labels, orders[fold], share)
            held = np.flatnonzero(folds == fold)
            if len(np.unique(task.labels[rows])) < 2:
                continue
            head = fit_candidate(task, chosen, np.sort(rows))
            features = np.concatenate([task.columns.matrices[i][held] for i in chosen.depths], axis=1)
            right += int(np.sum(head.logits(features).argmax(axis=1) == task.labels[held]))
            count += len(held)
            sizes.append(len(rows))
        if count:
            points.append((round(float(np.mean(sizes))), right / count))
    full = round(float(np.mean([np.sum(folds != fold) for fold in parts])))
    points.append((full, chosen.top1))
    return tuple(p for i, p in enumerate(points) if i == len(points) - 1 or p[0] < points[i + 1][0])


def _stratified(labels: IntArray, rows: IntArray, rng: np.random.Generator) -> IntArray:
    """Rows class by class, each class in random order."""
    mixed = rng.permutation(rows)
    return mixed[np.argsort(labels[mixed], kind="stable")]


def _first(labels: IntArray, ordered: IntArray, share: float) -> IntArray:
    """The first `share` of every class, at least one row."""
    own = labels[ordered]
    starts = np.searchsorted(own, own)
    counts = np.bincount(own)[own]
    return ordered[np.arange(len(own)) - starts < np.maximum(1, np.round(share * counts))]
