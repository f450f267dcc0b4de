"""Where fine-tuning starts: the best linear head that reads the last layer, fitted without the pictures it will judge.

LP-FT (Kumar et al. 2022): starting from a trained head the features move 10 to 100 times less than from a random one.
But a head that is sure of every picture it was fitted on leaves nothing to learn: its gradients are noise, and Adam
makes full steps of them. So training begins with a head that is as unsure of those pictures as of new ones (Ren et al.
2023, "How to prepare your task head for finetuning").
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.calibrate import softening
from headstart.head.columns import columns_of
from headstart.head.linear import LinearHead
from headstart.howmuch.candidates import Candidate
from headstart.howmuch.screen import Task, fit_head

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

ASKED = 2000  # rows that a head is softened on


def start_candidate(candidates: Sequence[Candidate], last: int) -> Candidate:
    """Of the cross-validated heads that read the last layer (position `last`) the one with the lowest log-loss.

    A head that stops at an earlier depth would leave the stages behind it nothing to learn.
    """
    return min((c for c in candidates if last in c.depths), key=lambda c: c.nll)


@dataclass(frozen=True)
class StartHeads:
    """One head per fold and one on everything, each fitted when first asked for. Cooled by the candidate's temperature.

    `matrices`: one `(n, d)` per depth; `folds` `(repeats, n)`, -1 = always in training.
    """

    candidate: Candidate
    matrices: Sequence[FloatArray]
    labels: IntArray
    n_classes: int
    folds: IntArray
    _made: dict[tuple[int, int] | None, LinearHead] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def of(self, unit: tuple[int, int] | None) -> LinearHead:
        """The head for (repeat, fold), fitted on the other folds; on all rows for None."""
        with self._lock:
            if unit not in self._made:
                rows = None if unit is None else np.flatnonzero(self.folds[unit[0]] != unit[1])
                task = Task(columns_of(self.matrices), np.asarray(self.labels, np.int64), self.n_classes, self.folds)
                c = self.candidate
                head = fit_head(task, c.depth_set, c.kind, c.penalty, rows)
                self._made[unit] = _cooled(head, c.temperature)
            return self._made[unit]

    def softened(self, unit: tuple[int, int] | None) -> LinearHead:
        """The same head, cooled until its log-loss on the rows it was fitted on is the candidate's out of fold."""
        head = self.of(unit)
        rows = np.arange(len(self.labels)) if unit is None else np.flatnonzero(self.folds[unit[0]] != unit[1])
        rows = rows[:: ceil(len(rows) / ASKED)]
        known = np.concatenate([self.matrices[d][rows] for d in self.candidate.depths], axis=1)
        return _cooled(head, softening(head.logits(known), np.asarray(self.labels)[rows], self.candidate.nll))


def _cooled(head: LinearHead, temperature: float) -> LinearHead:
    return LinearHead(head.weights / temperature, head.bias / temperature, head.mean, head.scale)


def fresh_head(like: LinearHead, seed: int) -> LinearHead:
    """A small random head with the standardisation of `like`: it leads the network instead of holding it."""
    rng = np.random.default_rng([seed, 7])
    weights = rng.normal(0.0, 0.01 / np.sqrt(like.weights.shape[1]), like.weights.shape)
    return LinearHead(weights, np.zeros(len(like.bias)), like.mean, like.scale)
