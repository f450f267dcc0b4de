"""Findings: what the user should know of the data and the result. Pure functions from figures to `Finding` or None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import Comparison, paired_bootstrap
from headstart.evaluation.metrics import ece
from headstart.predictions import softmax

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

SMALL_CLASS = 5  # pictures; below it a class can hardly be judged, let alone learned
IMBALANCE = 10.0  # largest class over smallest
MISSED_CLASS = 0.15  # balanced accuracy this far below top-1 means that small classes pay
ENOUGH_FOR_ECE = 200  # ECE is biased upward below it (Roelofs 2022)
OVERCONFIDENT = 0.05  # mean probability above accuracy, beyond noise


@dataclass(frozen=True)
class Finding:
    """One thing to know. `severity` "issue" = the result is at risk, "tip" = it could be better; `items` are names."""

    code: str
    severity: Literal["issue", "tip"]
    title: str
    detail: str = ""
    items: tuple[str, ...] = ()


def imbalance(
    counts: IntArray, classes: Sequence[str], top1: float | None = None, balanced: float | None = None
) -> Finding | None:
    """Classes of very different size; an issue when the small ones pay for it (balanced accuracy far below top-1)."""
    present = np.asarray(counts)[np.asarray(counts) > 0]
    if len(present) < 2 or present.max() < IMBALANCE * present.min():
        return None
    smallest, largest = int(np.argmin(np.where(counts > 0, counts, present.max() + 1))), int(np.argmax(counts))
    pays = top1 is not None and balanced is not None and top1 - balanced > MISSED_CLASS
    detail = f"{classes[largest]} has {counts[largest]} pictures, {classes[smallest]} has {counts[smallest]}."
    if top1 is not None and balanced is not None:
        detail += f" Top-1 is {top1:.1%}, the mean over classes {balanced:.1%}."
    if pays:
        detail += " More pictures of the small classes would help most."
    title = f"classes differ {present.max() / present.min():.0f}-fold in size"
    return Finding("imbalance", "issue" if pays else "tip", title, detail, (classes[smallest],))


def small_classes(counts: IntArray, classes: Sequence[str]) -> Finding | None:
    """Classes with 2 to 4 pictures."""
    found = [classes[int(i)] for i in np.flatnonzero((counts > 1) & (counts < SMALL_CLASS))]
    if not found:
        return None
    title = f"{_classes(len(found))} fewer than {SMALL_CLASS} pictures"
    return Finding("small_class", "tip", title, "Their accuracy is little more than a guess.", tuple(found))


def single_pictures(counts: IntArray, classes: Sequence[str]) -> Finding | None:
    """Classes with one picture: learned, but never judged."""
    found = [classes[int(i)] for i in np.flatnonzero(np.asarray(counts) == 1)]
    if not found:
        return None
    detail = "The picture is learned from, and no accuracy can be given for its class. Two pictures are the least."
    return Finding("single_picture_class", "issue", f"{_classes(len(found))} a single picture", detail, tuple(found))


def no_better_than_guessing(
    predicted: IntArray, labels: IntArray, groups: IntArray | None = None, seed: int = 0
) -> Finding | None:
    """Out-of-fold predictions `(n,)` that do not beat "always the most frequent class" on the same pictures.

    Beating means P(better) >= 0.975 in a paired bootstrap, and more right answers than the baseline.
    """
    labels = np.asarray(labels)
    majority = int(np.bincount(labels).argmax())
    right, baseline = predicted == labels, labels == majority
    compared = paired_bootstrap(right, baseline, groups, seed)
    if compared.difference > 0 and compared.p_better >= 0.975:
        return None
    title = "no better than guessing"
    detail = (
        f"{right.mean():.1%} right, always saying the most frequent class gives {baseline.mean():.1%}. "
        "Are the labels right, and can a person tell the classes apart in these pictures?"
    )
    return Finding("no_better_than_guessing", "issue", title, detail)


def series_drop(main_top1: float, series_top1: float, how: str, against_main: Comparison) -> Finding | None:
    """Accuracy on unseen series (`how` they were told apart) below the main figure beyond noise.

    `against_main`: series folds compared with the main folds on the same pictures.
    """
    if against_main.high >= 0:
        return None
    detail = (
        f"Judged on whole series left out ({how}) {series_top1:.1%} are right, on shuffled pictures {main_top1:.1%}. "
        f"Give a group column; on a new series expect {series_top1:.1%}."
    )
    return Finding("series", "issue", "your pictures come in series", detail)


def over_confident(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> Finding | None:
    """Mean largest probability above the accuracy by more than 5 points and beyond noise; needs 200 rows."""
    n = len(labels)
    if n < ENOUGH_FOR_ECE:
        return None
    probabilities = softmax(logits, temperature)
    gap = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == labels)
    if gap.mean() - 1.96 * gap.std() / np.sqrt(n) <= 0 or gap.mean() <= OVERCONFIDENT:
        return None
    accuracy = float(np.mean(probabilities.argmax(axis=1) == labels))
    detail = (
        f"Mean probability {probabilities.max(axis=1).mean():.1%}, right {accuracy:.1%}; "
        f"calibration error {ece(probabilities, labels):.3f}. Do not read the probabilities as chances."
    )
    return Finding("over_confident", "issue", "probabilities are too high", detail)


def duplicates(groups: Sequence[Sequence[str]], near: bool = False) -> Finding | None:
    """Groups of equal (or, `near`, nearly equal) pictures, by name; kept in one fold."""
    if not groups:
        return None
    count = sum(len(g) for g in groups)
    kind = "nearly the same" if near else "exact copies"
    detail = "Each group stays in one fold, so that no picture is judged by its own copy."
    items = tuple(" = ".join(g) for g in groups)
    code = "near_duplicates" if near else "duplicates"
    return Finding(code, "tip", f"{count} pictures in {len(groups)} groups are {kind}", detail, items)


def large_groups(groups: Sequence[Sequence[str]]) -> Finding | None:
    """Near-duplicate groups too large to be believed; not merged."""
    if not groups:
        return None
    detail = "More than 1 % of the data look nearly the same; they are treated as different pictures."
    items = tuple(f"{len(g)} pictures like {g[0]}" for g in groups)
    return Finding("large_near_duplicates", "tip", f"{len(groups)} very large groups look alike", detail, items)


def conflicts(names: Sequence[str]) -> Finding | None:
    """Equal pixels in two classes; left out."""
    if not names:
        return None
    title = f"{len(names)} pictures are in two classes at once"
    return Finding("conflicts", "issue", title, "Same pixels, different labels: left out of training.", tuple(names))


def leaks(names: Sequence[str]) -> Finding | None:
    """Test pictures with the pixels of a training picture; left out of the test figure."""
    if not names:
        return None
    detail = "Same pixels as a training picture: left out of the test figure."
    return Finding("leaks", "issue", f"{len(names)} test pictures are in the training part too", detail, tuple(names))


def bad_pictures(reasons: Sequence[tuple[str, str]]) -> Finding | None:
    """(name, reason) of pictures that could not be read; skipped."""
    if not reasons:
        return None
    items = tuple(f"{name}: {reason}" for name, reason in reasons)
    plural = "picture" if len(reasons) == 1 else "pictures"
    return Finding("bad_images", "issue", f"{len(reasons)} {plural} cannot be read", "Skipped.", items)


def _classes(count: int) -> str:
    return "one class has" if count == 1 else f"{count} classes have"
