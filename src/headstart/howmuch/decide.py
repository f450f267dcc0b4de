"""The `decision` part of result.json: how much was trained, what exactly, and one sentence why."""

from __future__ import annotations

from typing import Any

from headstart.howmuch.candidates import Candidate
from headstart.howmuch.probe import Probe
from headstart.howmuch.verdict import Verdict


def decide(found: Probe, backbone: str, verdict: Verdict | None = None) -> dict[str, Any]:
    """What answer A is; with a `verdict`, what the race made of it.

    `p_better`: that more training is better, when a race compared it; before that, that the chosen depths are better
    than the last layer (`p_depths` always says so). `p_here`: what these pictures say of it, without what such training
    gained elsewhere. `judged_by`: by which measure a race decided. `epochs` and `blend` say what was trained;
    `on_all_pictures` is false where the network is one that a fold trained.
    """
    judged = bool(found.judged.any())
    decision: dict[str, Any] = {
        "train": "head" if verdict is None else verdict.train,
        "depths": list(found.chosen.names),
        "backbone": backbone,
        "extra_layers": [],
        "learning_rate": None,
        "kind": found.chosen.kind,
        "penalty": found.chosen.known_penalty,
        "why": _why(found),
        "p_better": found.p_better if judged else None,
        "p_depths": found.p_better if judged else None,
    }
    if verdict is None:
        return decision
    decision |= {"why": verdict.why, "why_depths": _why(found)}
    if verdict.p_better is not None:
        decision |= {"p_better": verdict.p_better, "p_here": verdict.p_here, "judged_by": verdict.judged_by}
    if verdict.arm is not None and verdict.version is not None:
        arm = verdict.arm
        decision |= {
            "backbone": arm.backbone or backbone,
            "extra_layers": list(arm.extra_layers),
            "learning_rate": arm.learning_rate,
            "kind": "layers" if arm.train == "extra" else "fine-tuned",
            "penalty": None,
            "epochs": verdict.version.epoch,
            "blend": verdict.version.blend,
            "fresh": arm.fresh,
            "on_all_pictures": not verdict.kept,
        }
    return decision


def _why(found: Probe) -> str:
    chosen, last = found.chosen, found.reference
    if not found.judged.any():
        return "no class has two pictures, so nothing could be compared: the simplest head was taken"
    if chosen.depths == last.depths:
        return f"no other depth of the backbone beats its last layer ({100 * last.top1:.1f} %) beyond noise"
    return (
        f"{_read(chosen)} {100 * chosen.top1:.1f} % out of fold, the last layer alone "
        f"{100 * last.top1:.1f} % (probability that it is better: {found.p_better:.2f})"
    )


def _read(chosen: Candidate) -> str:
    """Which depths reach something, as the start of a sentence; several are neighbours."""
    names = chosen.names
    several = f"Depths {names[0]} {'and' if len(names) == 2 else 'to'} {names[-1]}"
    if chosen.members:
        return f"The mean of {len(chosen.members)} heads, on {several[0].lower()}{several[1:]}, reaches"
    return f"Depth {names[0]} reaches" if len(names) == 1 else f"{several} reach"
