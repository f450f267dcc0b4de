"""Figures as words, the same on the console, on the page and in the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JSON = Mapping[str, Any]

AMOUNTS = ("head", "extra", "norms", "all", "scratch")  # and last-1, last-2, ... before "all"


def percent(fraction: float | None) -> str:
    """0.8537 -> "85.4 %"; an unknown value is a dash."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def chance(probability: float | None) -> str:
    """A probability of one picture: 0.934 -> "93 %"; what is not certain is never called 100 %."""
    if probability is None:
        return "-"
    if 0.995 <= probability < 1:
        return "over 99 %"
    if 0 < probability < 0.005:
        return "under 1 %"
    return f"{100 * probability:.0f} %"


def interval(figures: JSON) -> str:
    """`low` and `high` of an accuracy."""
    return f"95 % interval {100 * figures['low']:.1f} to {100 * figures['high']:.1f}"


def points(difference: float) -> str:
    """A difference of two accuracies: 0.0123 -> "+1.2 points"."""
    said = f"{100 * difference:+.1f}"
    return f"{said.replace('-0.0', '0.0').replace('+0.0', '0.0')} points"


def duration(seconds: float | None) -> str:
    """0.42 -> "0.4 s", 12.3 -> "12 s", 200 -> "3 min 20 s", 7300 -> "2 h 2 min"."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if seconds < 0.05:
        return "<0.1 s"
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 and whole < 600 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(n: int, one: str, many: str = "") -> str:
    """1 -> "1 picture", 2624 -> "2,624 pictures"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def amount_order(train: str) -> int:
    """Less training first; unknown amounts at the end."""
    if train.startswith("last-") and train[5:].isdigit():
        return 2 + int(train[5:])
    return {"head": 0, "extra": 1, "norms": 2, "all": 100, "scratch": 1000}.get(train, 10_000)


def amount(train: str) -> str:
    """An amount of training in words, such as "last 2 stages"."""
    words = {
        "head": "new head",
        "extra": "extra layers",
        "norms": "norms and biases",
        "last-1": "last stage",
        "all": "everything",
        "scratch": "everything, from scratch",
    }
    return words.get(train) or f"last {train.removeprefix('last-')} stages"


def trained(result: JSON) -> str:
    """What was trained: a new head on these depths, the last 2 stages of the network, everything."""
    decision = result["decision"]
    backbone, train = decision["backbone"], decision["train"]
    if train == "head":
        return f"a new head on {places(result)} of {backbone}"
    if train == "extra":
        return f"extra layers of {', '.join(str(w) for w in decision['extra_layers'])} after the frozen {backbone}"
    words = {"norms": "the norms and biases", "last-1": "the last stage", "all": "everything", "scratch": "everything"}
    what = words.get(train) or f"the last {train.removeprefix('last-')} stages"
    return f"{what} of {backbone}" + (" from scratch" if train == "scratch" else "")


def places(result: JSON) -> str:
    """The chosen depths in words: the last layer, depth x, x and y, x to y, all depths."""
    return depths(list(result["decision"]["depths"]), [d["name"] for d in result["depths"]])


def depths(names: list[str], known: list[str]) -> str:
    """`names` of the `known` depths in words."""
    if len(names) == 1:
        return "the last layer" if names[0] == "last" else f"depth {names[0]}"
    if len(names) == 2:
        return f"depths {names[0]} and {names[1]}"
    if names == known:
        return f"all {len(names)} depths"
    if names == known[: len(names)] or not known:
        return f"depths {names[0]} to {names[-1]}"
    return f"depths {', '.join(names[:-1])} and {names[-1]}"
