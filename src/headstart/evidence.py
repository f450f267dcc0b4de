"""Evidence: what else the pictures say once a head is chosen: series, what shuffled folds claim, the test part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart import rules
from headstart.answer import Answer
from headstart.classifier.classifier import Classifier
from headstart.clock import Clock
from headstart.data.series import find_series
from headstart.data.split import Split, make_split
from headstart.evaluation.intervals import Comparison, paired_bootstrap
from headstart.evaluation.judge import Judged, judge
from headstart.finish import Saved
from headstart.howmuch.probe import Probe, right_out_of_fold
from headstart.material import Material
from headstart.predictions import Predictions
from headstart.run import Run
from headstart.training import Ground

SMALLEST_SERIES_CHECK = 40  # below this a block of file order holds too few pictures to say anything


@dataclass(frozen=True)
class OtherFolds:
    """The chosen head, judged on other folds: accuracy, how the folds were made, compared with the main folds."""

    top1: float
    how: str
    against_main: Comparison


@dataclass(frozen=True)
class Evidence:
    """None where a question does not apply, or where the run was interrupted before it was asked."""

    series: OtherFolds | None = None
    shuffled: OtherFolds | None = None
    test: Judged | None = None


def gather(material: Material, split: Split, found: Probe, answer: Answer, saved: tuple[Run, float]) -> Evidence:
    """Ask every question that applies. The test part is judged here and nowhere else; `saved`: run and temperature.

    Series and shuffled folds are about the pictures, so the frozen head answers for whatever was trained.
    """
    seed = split.seed
    shuffled = series = None
    if material.samples.groups is not None:
        alone = np.arange(len(material.learn), dtype=np.int64)
        shuffled = _other_folds(material, found, alone, seed, "shuffled folds")
    elif len(material.learn) >= SMALLEST_SERIES_CHECK:
        guess = find_series(material.names, material.labels)
        if guess is not None:
            series = _other_folds(material, found, guess.groups, seed, guess.how)
    return Evidence(series, shuffled, _test(material, answer, *saved))


def _other_folds(material: Material, found: Probe, groups: NDArray[np.int64], seed: int, how: str) -> OtherFolds | None:
    labels, n_classes = material.labels, len(material.samples.classes)
    split = make_split(labels, groups, seed, rules.folds(int(np.bincount(labels).max())).value)
    matrices = material.matrices(material.learn)
    own = [matrices[d] for d in found.chosen.depths]
    right = right_out_of_fold(own, labels, n_classes, split.folds[0], found.chosen)
    both = found.judged & np.isfinite(right)
    if not both.any():
        return None
    here, main = right[both], (found.logits.argmax(axis=1) == labels)[both]
    return OtherFolds(float(here.mean()), how, paired_bootstrap(here, main, groups[both], seed))


def _test(material: Material, answer: Answer, run: Run, temperature: float) -> Judged | None:
    if not len(material.test):
        return None
    if answer.frozen:
        logits = answer.head.logits(material.embeddings.matrix(answer.depths, material.test))
    else:  # the saved file itself; its probabilities are calibrated already
        sources = [material.samples.sources[i] for i in material.test]
        found = Classifier.load(run.classifier).probabilities(sources)
        logits, temperature = np.log(np.maximum(found.values, 1e-12)), 1.0
    predictions = Predictions(
        logits,
        material.samples.labels[material.test],
        tuple(material.samples.names[i] for i in material.test),
        material.samples.classes,
    )
    groups = None if material.samples.groups is None else material.groups[material.test]
    return judge(predictions, temperature, groups)


def judged(run: Run, ground: Ground, saved: Saved, clock: Clock, interrupted: bool) -> tuple[Evidence, bool]:
    """Gather the evidence; the first Ctrl-C leaves it unfinished, a second one ends the process."""
    try:
        with clock("judge"):
            found, temperature = ground.found, saved.finished.temperature
            return gather(ground.material, ground.split, found, saved.answer, (run, temperature)), interrupted
    except KeyboardInterrupt:
        if interrupted:
            raise
        return Evidence(), True
