"""Where near ends and far begins, per backbone: numbers from benchmarks/similarity.py, explained in docs/similarity.md.

A threshold is the geometric midpoint between the last set of one group and the first of the next; seven sets in three
groups, so each rests on two sets. It orders what is tried first, never what may win.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Places:
    """Thresholds: the first between near and middle, the second between middle and far.

    `shift`: of the BatchNorm shift, rising. `confidence`: of the mean largest probability of the discarded head,
    falling; None where that says nothing. `origin`: where they come from.
    """

    shift: tuple[float, float]
    confidence: tuple[float, float] | None
    origin: str


_ORIGIN = "seven reference sets, benchmarks/similarity.py"

PLACES: dict[str, Places] = {
    "efficientnet_lite0": Places((0.093, 0.226), (0.389, 0.212), _ORIGIN),
    "efficientnet_lite1": Places((0.095, 0.228), (0.303, 0.205), _ORIGIN),
    # Its head is surer of solar cells (0.31) than of playing cards (0.16): it says nothing about the distance.
    "efficientnet_lite2": Places((0.095, 0.216), None, _ORIGIN),
}

# For other networks with BatchNorm. The shift counts in the network's own deviations, and the three above agree, so it
# carries over roughly; how sure a head is depends on its classes and its training, so its confidence does not.
BORROWED = Places((0.094, 0.223), None, "borrowed from the EfficientNet-Lite backbones")
