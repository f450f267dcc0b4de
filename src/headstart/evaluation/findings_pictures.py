"""Findings about what is in the pictures: wrong labels, odd pictures, backgrounds that give the classes away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.evaluation.findings import Finding, share
from headstart.evaluation.intervals import wilson
from headstart.evaluation.quality import Oddity
from headstart.evaluation.suspects import Noise

MANY_WRONG = 0.01  # share of wrong labels, at least (95 %), from which the result is at risk
FEW_WRONG = 3  # labels named, below which it is a tip whatever the share
NOTICED = 0.005  # difference of two shares that a reader sees
FOLLOWS = 0.65  # share of swaps that follow the frame, at least (95 %)
MOST_OF_IT = 0.7  # share of what whole pictures gain over the baseline that frames alone must gain

# code: (one, several, what to do)
_ODD = {
    "blurred": ("blurred picture", "blurred pictures", "Take them again, or leave them out if new ones will be sharp."),
    "dark": ("dark picture", "dark pictures", "Take them with more light, or brighten old and new pictures alike."),
    "bright": (
        "very bright picture",
        "very bright pictures",
        "Take them with less light: what is white shows nothing.",
    ),
    "odd_size": (
        "picture of unusual size",
        "pictures of unusual size",
        "Small pictures lack detail, large ones may show more than the object: cut or take them like the others.",
    ),
    "odd_shape": (
        "picture of unusual shape",
        "pictures of unusual shape",
        "Every picture is squeezed into a square: cut these to the proportions of the others.",
    ),
}


def odd_pictures(oddity: Oddity, names: Sequence[str]) -> Finding:
    """Pictures of one odd trait that are wrong more often than others of their class; `names` of all pictures."""
    one, several, advice = _ODD[oddity.code]
    n = len(oddity.rows)
    title = f"{n} {one if n == 1 else several}: {share(oddity.share)} wrong, of the others {share(oddity.rest)}"
    detail = (
        f"{oddity.wrong} of the {n} are predicted wrong, more than others of the same classes "
        f"(p = {oddity.p:.2g}). The wrong ones come first."
    )
    if abs(oddity.share - oddity.wrong / n) > NOTICED:
        detail += " Mistakes were looked at more often than other pictures: the shares above make up for that."
    return Finding(oddity.code, "tip", title, detail, tuple(names[i] for i in oddity.rows), advice)


def blank_pictures(names: Sequence[str]) -> Finding | None:
    """Pictures of one even colour."""
    if not names:
        return None
    title = "1 picture shows nothing" if len(names) == 1 else f"{len(names)} pictures show nothing"
    advice = "Remove them, or take them again."
    return Finding("blank", "tip", title, "One even tone from edge to edge.", tuple(names), advice)


def label_errors(names: Sequence[str], labels: Sequence[tuple[str, str]], noise: Noise) -> Finding | None:
    """Labels that are more probably wrong than right, most suspect first; `labels` = (given, likely) of each name.

    An issue only where at least three are named and at least one label in a hundred is wrong beyond doubt (95 %).
    """
    if not names:
        return None
    n, given = len(names), len(noise.chances)
    severity: Literal["issue", "tip"] = "issue" if n >= FEW_WRONG and noise.low >= MANY_WRONG else "tip"
    title = "1 label is probably wrong" if n == 1 else f"{n} labels are probably wrong"
    detail = (
        f"A classifier that never saw these pictures is sure of another class. In all about {share(noise.share, 1)} of "
        f"the {given} labels seem to be wrong (95 % interval {100 * noise.low:.1f} to {100 * noise.high:.1f})."
    )
    advice = "Look at each: correct the label, or leave it where it is right."
    items = tuple(f"{name}: {old} -> {new}" for name, (old, new) in zip(names, labels, strict=True))
    return Finding("label_errors", severity, title, detail, items, advice)


@dataclass(frozen=True)
class FrameAlone:
    """What the outer frame of `n` pictures of `classes` classes tells; `area`: its share of the picture.

    Out of fold, with heads that learned from these few pictures: `top1` of a head that saw frames alone, `whole` of
    one that saw whole pictures, `baseline` the largest class. Where the frame tells much (`tells_classes`) the latter
    head was also shown frames around the middle of a picture of another class: share of answers that name the frame's
    class and the middle's. None: not asked.
    """

    n: int
    classes: int
    area: float
    top1: float
    whole: float
    baseline: float
    follows_frame: float | None = None
    follows_middle: float | None = None


def tells_classes(frame: FrameAlone) -> bool:
    """Whether the frame alone gives away most of what whole pictures tell: above the baseline (95 %), and by much."""
    gain, gained = frame.whole - frame.baseline, frame.top1 - frame.baseline
    above = wilson(frame.top1 * frame.n, frame.n)[0] > frame.baseline
    return above and gained >= MOST_OF_IT * gain


def background(frame: FrameAlone) -> Finding | None:
    """Classes that the frame gives away, and a classifier that goes by it.

    That the frame tells much is no fault where the object fills the picture or where a class has its surroundings, so
    it must also win against the middle of another picture.
    """
    if frame.follows_frame is None or frame.follows_middle is None or not tells_classes(frame):
        return None
    if wilson(frame.follows_frame * frame.n, frame.n)[0] < FOLLOWS:
        return None
    detail = (
        f"The outer frame alone, {share(frame.area)} of the area, gives {share(frame.top1)} right, whole pictures "
        f"{share(frame.whole)} (on {frame.n} pictures, always one class {share(frame.baseline)}). With the middle of a "
        f"picture of another class put into it, {share(frame.follows_frame)} of the answers name the frame's class and "
        f"{share(frame.follows_middle)} the middle's. Where the object reaches the edge this may be right; otherwise "
        "the classifier fails in other surroundings."
    )
    advice = "Take pictures of every class before the same backgrounds."
    return Finding("background", "issue", "the background gives the classes away", detail, advice=advice)
