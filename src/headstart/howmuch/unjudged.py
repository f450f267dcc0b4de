"""When nothing can be held out (no class has two pictures): the safest head, and no claim about how good it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.head.columns import columns_of
from headstart.head.linear import LinearHead
from headstart.howmuch.candidates import FIXED_PENALTY, Candidate, fixed_set
from headstart.howmuch.probe import Probe
from headstart.howmuch.screen import Task, fit_head

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

SPREAD = 2.0  # standard deviation of the logits: unknown without held-out pictures, so neither flat nor sure


def unjudged(matrices: Sequence[FloatArray], names: Sequence[str], labels: IntArray, n_classes: int) -> Probe:
    """A ridge head on all depths but the last; every figure is NaN and no row is judged."""
    n, nan = len(labels), float("nan")
    depth_set = fixed_set(len(matrices))
    used = [matrices[i] for i in depth_set.depths]
    task = Task(columns_of(matrices), np.asarray(labels, np.int64), n_classes, np.full((1, n), -1, np.int64))
    head = fit_head(task, depth_set, "ridge", FIXED_PENALTY)
    spread = float(head.logits(np.concatenate([np.asarray(m, np.float32) for m in used], axis=1)).std())
    factor = SPREAD / spread if spread > 0 else 1.0
    chosen = Candidate(
        depths=depth_set.depths,
        names=tuple(names[i] for i in depth_set.depths),
        dims=tuple(m.shape[1] for m in used),
        factors=depth_set.factors,
        kind="ridge",
        penalty=FIXED_PENALTY,
        temperature=1.0 / factor,
        top1=nan,
        nll=nan,
        low=nan,
        high=nan,
        seconds=0.0,
    )
    return Probe(
        profile=(),
        candidates=(chosen,),
        chosen=chosen,
        reference=chosen,
        head=LinearHead(head.weights * factor, head.bias * factor, head.mean, head.scale),
        logits=np.zeros((n, n_classes), np.float32),
        judged=np.zeros(n, bool),
        learning_curve=(),
        corrected_top1=nan,
        corrected_low=nan,
        corrected_high=nan,
        p_better=nan,
        seconds={},
    )
