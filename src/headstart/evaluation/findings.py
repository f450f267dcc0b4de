"""Findings: what the user should know of the data and the result. Pure functions from figures to `Finding` or None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.intervals import Comparison, paired_bootstrap
from headstart.evaluation.metrics import ece
from headstart.predictions import probability_of

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

SMALL_CLASS = 5  # pictures; below it a class can hardly be judged, let alone learned
IMBALANCE = 10.0  # largest class over smallest
MISSED_CLASS = 0.15  # balanced accuracy this far below top-1 means that small classes pay
ENOUGH_FOR_ECE = 200  # ECE is biased upward below it (Roelofs 2022)
OVERCONFIDENT = 0.05  # mean probability above accuracy, beyond noise


@dataclass(frozen=True)
class Finding:
    """One thing to know, and `advice`, what to do about it. `items` are names.

    `severity` "issue" = the result is at risk, "tip" = it could be better.
    """

    code: str
    severity: Literal["issue", "tip"]
    title: str
    detail: str = ""
    items: tuple[str, ...] = ()
    advice: str = ""


def share(fraction: float, digits: int = 0) -> str:
    """0.8537 -> "85 %"."""
    return f"{100 * fraction:.{digits}f} %"


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
        detail += f" {share(top1, 1)} of all pictures are right, {share(balanced, 1)} in the mean over classes."
    advice = "More pictures of the small classes would help most." if pays else "Read the figures of every class apart."
    title = f"classes differ {present.max() / present.min():.0f}-fold in size"
    return Finding("imbalance", "issue" if pays else "tip", title, detail, (classes[smallest],), advice)


def small_classes(counts: IntArray, classes: Sequence[str]) -> Finding | None:
    """Classes with 2 to 4 pictures."""
    found = [classes[int(i)] for i in np.flatnonzero((counts > 1) & (counts < SMALL_CLASS))]
    if not found:
        return None
    title = f"{_classes(len(found))} fewer than {SMALL_CLASS} pictures"
    detail, advice = "Their accuracy is little more than a guess.", "Take more pictures of them, twenty if you can."
    return Finding("small_class", "tip", title, detail, tuple(found), advice)


def single_pictures(counts: IntArray, classes: Sequence[str]) -> Finding | None:
    """Classes with one picture: learned, but never judged."""
    found = [classes[int(i)] for i in np.flatnonzero(np.asarray(counts) == 1)]
    if not found:
        return None
    detail = "The picture is learned from, and no accuracy can be given for its class."
    title, advice = (
        f"{_classes(len(found))} a single picture",
        "Add pictures, two are the least, or leave the class out.",
    )
    return Finding("single_picture_class", "issue", title, detail, tuple(found), advice)


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
    detail = f"{share(right.mean(), 1)} right, always saying the most frequent class gives {share(baseline.mean(), 1)}."
    advice = "Are the labels right, and can a person tell the classes apart in these pictures?"
    return Finding("no_better_than_guessing", "issue", title, detail, advice=advice)


def series_drop(main_top1: float, series_top1: float, how: str, against_main: Comparison) -> Finding | None:
    """Accuracy on unseen series (`how` they were told apart) below the main figure beyond noise.

    `against_main`: series folds compared with the main folds on the same pictures.
    """
    if against_main.high >= 0:
        return None
    detail = (
        f"Judged on whole series left out ({how}) {share(series_top1, 1)} are right, on shuffled pictures "
        f"{share(main_top1, 1)}. On a new series expect {share(series_top1, 1)}."
    )
    advice = "Give a group column that names the series of every picture."
    return Finding("series", "issue", "your pictures come in series", detail, advice=advice)


def over_confident(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> Finding | None:
    """Mean largest probability above the accuracy by more than 5 points and beyond noise; needs 200 rows."""
    n = len(labels)
    if n < ENOUGH_FOR_ECE:
        return None
    chosen = logits.argmax(axis=1)
    confidence, correct = probability_of(logits, chosen, temperature), chosen == labels
    gap = confidence - correct
    if gap.mean() - 1.96 * gap.std() / np.sqrt(n) <= 0 or gap.mean() <= OVERCONFIDENT:
        return None
    detail = (
        f"Mean probability {share(float(confidence.mean()), 1)}, right {share(float(correct.mean()), 1)}; "
        f"calibration error {ece(confidence, correct):.3f}."
    )
    advice = "Do not read the probabilities as chances."
    return Finding("over_confident", "issue", "probabilities are too high", detail, advice=advice)


def duplicates(groups: Sequence[Sequence[str]], near: bool = False) -> Finding | None:
    """Groups of equal (or, `near`, nearly equal) pictures, by name; kept in one fold."""
    if not groups:
        return None
    count = sum(len(g) for g in groups)
    kind = "nearly the same" if near else "exact copies"
    detail = "Each group stays in one fold, so that no picture is judged by its own copy."
    advice = "Nothing has to be done; a copy teaches nothing, so it may go."
    if near:
        advice = "Nothing has to be done. Where they show one thing, a group column says so for all pictures."
    items = tuple(" = ".join(g) for g in groups)
    code, sets = (
        "near_duplicates" if near else "duplicates",
        "one group" if len(groups) == 1 else f"{len(groups)} groups",
    )
    return Finding(code, "tip", f"{count} pictures in {sets} are {kind}", detail, items, advice)


def large_groups(groups: Sequence[Sequence[str]]) -> Finding | None:
    """Near-duplicate groups too large to be believed; not merged."""
    if not groups:
        return None
    detail = "More than 1 % of the data look nearly the same; they are treated as different pictures."
    items = tuple(f"{len(g)} pictures like {g[0]}" for g in groups)
    title = "one very large group looks alike" if len(groups) == 1 else f"{len(groups)} very large groups look alike"
    advice = "Look at some of each: where they show one thing, remove all but a few or give a group column."
    return Finding("large_near_duplicates", "tip", title, detail, items, advice)


def conflicts(names: Sequence[str]) -> Finding | None:
    """Equal pixels in two classes; left out."""
    if not names:
        return None
    title = f"{len(names)} pictures are in two classes at once"
    detail = "Same pixels, different labels: left out of training."
    advice = "Keep each in the class where it belongs and delete the other copy."
    return Finding("conflicts", "issue", title, detail, tuple(names), advice)


def leaks(names: Sequence[str]) -> Finding | None:
    """Test pictures with the pixels of a training picture; left out of the test figure."""
    if not names:
        return None
    some = "1 test picture is" if len(names) == 1 else f"{len(names)} test pictures are"
    detail = "Same pixels as a training picture: left out of the test figure."
    advice = "Remove them from one of the two parts, and ask how they came into both."
    return Finding("leaks", "issue", f"{some} in the training part too", detail, tuple(names), advice)


def bad_pictures(reasons: Sequence[tuple[str, str]]) -> Finding | None:
    """(name, reason) of pictures that could not be read; skipped."""
    if not reasons:
        return None
    items = tuple(f"{name}: {reason}" for name, reason in reasons)
    plural = "picture" if len(reasons) == 1 else "pictures"
    advice = "Save them once more from the original, or delete them."
    return Finding("bad_images", "issue", f"{len(reasons)} {plural} cannot be read", "Skipped.", items, advice)


def _classes(count: int) -> str:
    return "one class has" if count == 1 else f"{count} classes have"
