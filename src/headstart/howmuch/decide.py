"""Decide: which candidate, and one sentence why. In this version every candidate is a head on the frozen backbone."""

from __future__ import annotations

from typing import Any

from headstart import rules
from headstart.howmuch.probe import Probe


def decide(found: Probe, backbone: str, train: rules.Rule) -> dict[str, Any]:
    """The `decision` part of result.json."""
    return {
        "train": train.value,
        "depths": list(found.chosen.names),
        "backbone": backbone,
        "extra_layers": [],
        "learning_rate": None,
        "kind": found.chosen.kind,
        "penalty": found.chosen.penalty,
        "why": _why(found),
        "p_better": found.p_better if found.judged.any() else None,
    }


def _why(found: Probe) -> str:
    chosen, last = found.chosen, found.reference
    if not found.judged.any():
        return "no class has two pictures, so nothing could be compared: the simplest head was taken"
    if chosen.depths == last.depths:
        return f"no other depth of the backbone beats its last layer ({100 * last.top1:.1f} %) beyond noise"
    return (
        f"{' + '.join(chosen.names)} reaches {100 * chosen.top1:.1f} % out of fold, the last layer alone "
        f"{100 * last.top1:.1f} % (probability that it is better: {found.p_better:.2f})"
    )
