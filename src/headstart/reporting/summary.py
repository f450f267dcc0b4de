"""The console summary of a run, made from result.json alone. First the sentence, then what stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]


def summary_lines(result: JSON, folder: str) -> list[str]:
    """The lines that `fit` prints on stdout when it is done."""
    lines = [sentence(result), ""]
    lines += _accuracy(result) + _depths(result) + _more(result) + _findings(result)
    lines += ["", f"Done in {result['seconds']['total']:.0f} s ({_phases(result['seconds'])}); {_engine(result)}."]
    if result["interrupted"]:
        lines.append("Interrupted: the classifier is complete, some of the evidence is missing.")
    lines.append(f"Use it:  headstart predict {folder} PICTURE_OR_FOLDER")
    return lines


def sentence(result: JSON) -> str:
    """What was trained, how good it is, against what."""
    accuracy, what = result["accuracy"], _trained(result)
    if accuracy["top1"] is None:
        return f"Trained {what}; too few pictures to say how good."
    return (
        f"Trained {what}: "
        f"{_percent(accuracy['top1'])} of new pictures right ({_range(accuracy)}); "
        f"always naming the most frequent class would be {_percent(accuracy['baseline'])}."
    )


def _trained(result: JSON) -> str:
    """What was trained, in words: a new head on these depths, the last 2 stages of the network, everything."""
    decision = result["decision"]
    backbone, train = decision["backbone"], decision["train"]
    if train == "head":
        return f"a new head on {_places(result)} of {backbone}"
    if train == "extra":
        return f"extra layers of {', '.join(str(w) for w in decision['extra_layers'])} after the frozen {backbone}"
    words = {"norms": "the norms and biases", "last-1": "the last stage", "all": "everything", "scratch": "everything"}
    what = words.get(train) or f"the last {train.removeprefix('last-')} stages"
    return f"{what} of {backbone}" + (" from scratch" if train == "scratch" else "")


def _more(result: JSON) -> list[str]:
    """How near the pictures are, why that much was trained, and the best of every amount that was raced."""
    lines = [f"  similarity    {result['similarity']['why']}"]
    best: dict[str, JSON] = {}
    for candidate in result["candidates"]:
        known = best.get(candidate["train"])
        ran = candidate["train"] != "head" and candidate["top1"] is not None
        if ran and (known is None or _judged(candidate) > _judged(known)):
            best[candidate["train"]] = candidate
    if not best:
        failed = [f"  how much      {result['decision']['why']}"] if result["race"].get("plan") else []
        return [*lines, *failed, f"  more training {result['race']['ended']}"]
    raced = ", ".join(f"{name} {_percent(c['top1'])} on {c['n']}" for name, c in best.items())
    return [
        *lines,
        f"  how much      {result['decision']['why']}",
        f"  raced         {raced} ({result['race']['ended']})",
    ]


def _judged(candidate: JSON) -> tuple[int, float]:
    """What was judged on more pictures says more than what looked better on few."""
    return candidate["n"], candidate["top1"]


def _accuracy(result: JSON) -> list[str]:
    accuracy = result["accuracy"]
    lines: list[str] = []
    if accuracy["top1"] is None:
        return lines
    lines.append(f"  measured      {accuracy['how']}")
    lines.append(
        f"  also          {_percent(accuracy['balanced'])} balanced over classes, log-loss {accuracy['nll']:.3f}, "
        f"calibration error {accuracy['ece']:.3f}"
    )
    if accuracy["shuffled_top1"] is not None:
        lines.append(f"  careful       folds that ignore your groups would claim {_percent(accuracy['shuffled_top1'])}")
    if accuracy["series_top1"] is not None:
        lines.append(f"  series        {_percent(accuracy['series_top1'])} with folds by {accuracy['series_how']}")
    test = result.get("test")
    if test:
        out = f", {test['left_out']} left out: also in train" if test["left_out"] else ""
        lines.append(f"  test pictures {_percent(test['top1'])} right ({_range(test)}) on {test['n']}{out}")
    curve = result["learning_curve"]
    if len(curve) > 1:
        lines.append("  by number     " + ", ".join(f"{_percent(p['top1'])} with {p['n']}" for p in curve))
    return lines


def _depths(result: JSON) -> list[str]:
    named = "  ".join(f"{d['name']} {100 * d['top1']:.0f}" for d in result["depths"])
    return [f"  by depth      {named}  (% right, one depth alone)"] if named else []


def _findings(result: JSON) -> list[str]:
    return [f"  [{f['severity']}]".ljust(16) + f["title"] for f in result["findings"]]


def _places(result: JSON) -> str:
    """The chosen depths in words: the last layer, depth x, x and y, x to y, all depths."""
    names, known = list(result["decision"]["depths"]), [d["name"] for d in result["depths"]]
    if len(names) == 1:
        return "the last layer" if names[0] == "last" else f"depth {names[0]}"
    if len(names) == 2:
        return f"depths {names[0]} and {names[1]}"
    if names == known:
        return f"all {len(names)} depths"
    if names == known[: len(names)] or not known:
        return f"depths {names[0]} to {names[-1]}"
    return f"depths {', '.join(names[:-1])} and {names[-1]}"


def _phases(seconds: JSON) -> str:
    names = ("scan", "embed", "probe", "finish", "backbones", "plan", "race", "refit", "judge")
    return ", ".join(f"{name} {seconds[name]:.1f}" for name in names if seconds.get(name, 0.0) >= 0.05)


def _engine(result: JSON) -> str:
    engine = result["engine"]
    rate = engine["images_per_second"]
    speed = f", {rate:.0f} pictures a second" if rate else f", {engine['note']}" if engine.get("note") else ""
    return f"{engine['name']} {engine['precision']} on {engine['device']}{speed}"


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def _range(figures: JSON) -> str:
    return f"95 % interval {100 * figures['low']:.1f} to {100 * figures['high']:.1f}"
