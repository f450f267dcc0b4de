"""Similarity: how near the user's pictures are to what the network was trained on, without those pictures.

Two measures. `bn_shift`: how far the inputs of the BatchNorm layers moved from their running statistics
(embedding/moments.py; statistics as a summary of the source: arXiv 2107.00191). `source_confidence`: mean largest
probability of the discarded head. It orders the candidates and never excludes one. Formula and table:
docs/similarity.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headstart.embedding.moments import Moments
from headstart.howmuch.places import BORROWED, PLACES, Places

Place = Literal["near", "middle", "far"]

FEW = 8  # pictures below which a shift is called rough
_WORDS = {
    "near": "Your pictures are like the ones this network was trained on",
    "middle": "Your pictures differ somewhat from the ones this network was trained on",
    "far": "Your pictures are far from the ones this network was trained on",
}


@dataclass(frozen=True)
class Similarity:
    """`place` and what it rests on; None: not measured. `why`: one sentence for the user.

    `bn_shift`, `bn_shift_early`, `bn_shift_late`: mean over all, the first and the last third of the BatchNorm layers,
    in running variances. `source_confidence`: 0..1. `depth_gain`: what another depth brings over the last, in accuracy
    0..1; shown, no distance. `position`: 0 (near) .. 2 (far), what `place` was read from; the mean of
    `position_shift` and `position_confidence`, of which one may be missing.
    """

    place: Place
    bn_shift: float | None
    bn_shift_early: float | None
    bn_shift_late: float | None
    source_confidence: float | None
    depth_gain: float | None
    why: str
    position: float | None = None
    position_shift: float | None = None
    position_confidence: float | None = None


@dataclass(frozen=True)
class Positions:
    """0 (near) .. 2 (far) by each measure; None: not measured, or without thresholds it does not count."""

    shift: float | None
    confidence: float | None

    @property
    def mean(self) -> float | None:
        """What decides; None when nothing was measured."""
        known = [p for p in (self.shift, self.confidence) if p is not None]
        return sum(known) / len(known) if known else None


def measure(
    moments: Moments | None, source_confidence: float | None, depth_gain: float | None, backbone: str
) -> Similarity:
    """Similarity from what was measured; what is missing or not finite counts as not measured. Never fails.

    `backbone`: its name; without a table of its own it gets borrowed thresholds. Where the table has no thresholds for
    the head's confidence, that is shown but does not count.
    """
    shift, early, late = _thirds(moments)
    confidence = _finite(source_confidence)
    table = PLACES.get(backbone, BORROWED)
    at = positions_of(shift, confidence, table)
    place = place_of(shift, confidence, table)
    why = _why(place, (shift, early, late), confidence, table, moments)
    return Similarity(place, shift, early, late, confidence, _finite(depth_gain), why, at.mean, at.shift, at.confidence)


def place_of(shift: float | None, confidence: float | None, table: Places) -> Place:
    """Each measure gives a position on a logarithmic scale with the thresholds at 1/2 and 3/2; their mean decides.

    "middle" when nothing was measured.
    """
    mean = positions_of(shift, confidence, table).mean
    if mean is None:
        return "middle"
    return "near" if mean < 0.5 else "far" if mean > 1.5 else "middle"


def positions_of(shift: float | None, confidence: float | None, table: Places) -> Positions:
    """Where each measure puts the pictures between near and far."""
    return Positions(_position(shift, table.shift), _position(confidence, table.confidence))


def _position(value: float | None, thresholds: tuple[float, float] | None) -> float | None:
    """0 (near) .. 2 (far); falling thresholds turn the scale round."""
    if value is None or thresholds is None:
        return None
    near, far = thresholds
    found = 0.5 + math.log(max(value, 1e-9) / near) / math.log(far / near)
    return min(2.0, max(0.0, found))


def _thirds(moments: Moments | None) -> tuple[float | None, float | None, float | None]:
    if moments is None or not len(moments.shifts) or not np.isfinite(moments.shifts).all():
        return None, None, None
    third = max(1, len(moments.shifts) // 3)
    parts = moments.shifts, moments.shifts[:third], moments.shifts[-third:]
    whole, early, late = (float(np.mean(part)) for part in parts)
    return whole, early, late


def _why(
    place: Place,
    shifts: tuple[float | None, float | None, float | None],
    confidence: float | None,
    table: Places,
    moments: Moments | None,
) -> str:
    shift, early, late = shifts
    missing = moments.missing if moments is not None else None
    parts = []
    if shift is not None and moments is not None:
        parts.append(_about_shift(shift, moments.pictures, table))
    if confidence is not None and table.confidence is not None:
        parts.append(f"its own classifier is {100 * confidence:.0f} % sure on average")
    if not parts:
        reason = missing or "nothing was measured"
        return f"How near your pictures are to the network's own could not be measured ({reason}): taken as middle."
    said = f"{_WORDS[place]}: {' and '.join(parts)}"
    if shift is None and missing:
        said += f" ({missing})"
    if early is not None and late is not None and input_level(early, late, table):
        said += "; the early layers moved and the late ones hardly, which is how contrast, colour or noise look"
    return f"{said}."


def _about_shift(shift: float, pictures: int, table: Places) -> str:
    said = f"the inputs of its layers moved by {shift:.2f} of their variance"
    if pictures < FEW:
        said += f" (roughly: from {pictures} picture{'' if pictures == 1 else 's'})"
    return f"{said}, by thresholds {table.origin}" if table is BORROWED else said


def input_level(early: float, late: float, table: Places) -> bool:
    """Whether the shift is one of the input: early layers beyond near, late ones within it or well below the early."""
    return early > table.shift[0] and late < 0.5 * early


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
