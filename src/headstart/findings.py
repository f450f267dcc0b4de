"""What a run has to say to its user: the facts of this run, put through every finding that applies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.answer import Answer
from headstart.evaluation import findings as f
from headstart.evaluation import findings_pictures as of_pictures
from headstart.evaluation import metrics
from headstart.evaluation.findings import Finding
from headstart.evaluation.suspects import label_noise, likely_labels, suspected
from headstart.evidence import Evidence
from headstart.inspecting import Inspected
from headstart.material import Material
from headstart.predictions import taken

NOTHING = Inspected()


def of_data(material: Material) -> tuple[Finding, ...]:
    """What can be said before anything is trained; what `audit` shows."""
    samples, duplicates = material.samples, material.duplicates
    counts = np.bincount(material.labels, minlength=len(samples.classes))
    unreadable = [(samples.names[i], material.embeddings.errors[i] or "") for i in material.bad]
    return _said(
        f.bad_pictures(unreadable),
        f.conflicts(_names(material, duplicates.conflicts)),
        f.leaks(_names(material, duplicates.leaks)),
        f.single_pictures(counts, samples.classes),
        f.small_classes(counts, samples.classes),
        f.duplicates([_names(material, group) for group in duplicates.exact]),
        f.duplicates([_names(material, group) for group in duplicates.near], near=True),
        f.large_groups([_names(material, group) for group in duplicates.large]),
    )


def of_result(
    material: Material, found: Answer, temperature: float, evidence: Evidence, inspected: Inspected = NOTHING
) -> tuple[Finding, ...]:
    """Everything of `of_data`, and what the out-of-fold predictions and the pictures show."""
    judged = np.flatnonzero(found.judged)
    counts = np.bincount(material.labels, minlength=len(material.samples.classes))
    if not len(judged):
        return (*of_data(material), *_said(f.imbalance(counts, material.samples.classes)))
    logits, labels = taken(found.logits, found.judged), material.labels[judged]
    groups = None if material.samples.groups is None else material.groups[material.learn][judged]
    top1, balanced = metrics.top1(logits, labels), metrics.balanced(logits, labels)
    series = evidence.series
    return (
        *_said(
            f.no_better_than_guessing(logits.argmax(axis=1), labels, groups),
            f.series_drop(top1, series.top1, series.how, series.against_main) if series else None,
            f.imbalance(counts, material.samples.classes, top1, balanced),
            f.over_confident(logits, labels, temperature),
            _label_errors(material, found, temperature),
            of_pictures.background(inspected.frame) if inspected.frame else None,
            *(of_pictures.odd_pictures(odd, material.names) for odd in inspected.odd),
            of_pictures.blank_pictures([material.names[i] for i in inspected.blank]),
        ),
        *of_data(material),
    )


def _label_errors(material: Material, found: Answer, temperature: float) -> Finding | None:
    """Labels that are probably wrong, by what heads said that never saw them."""
    judged, classes = np.flatnonzero(found.judged), material.samples.classes
    logits, labels = taken(found.logits, found.judged), material.labels[judged]
    noise = label_noise(logits, labels, temperature)
    rows = suspected(logits, labels, temperature, noise)
    likely = likely_labels(logits, labels)
    names = [material.names[i] for i in judged[rows]]
    return of_pictures.label_errors(names, [(classes[labels[i]], classes[likely[i]]) for i in rows], noise)


def _names(material: Material, indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(material.samples.names[i] for i in indices)


def _said(*found: Finding | None) -> tuple[Finding, ...]:
    return tuple(finding for finding in found if finding is not None)
