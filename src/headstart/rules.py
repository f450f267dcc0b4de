"""Policy: facts about the data -> defaults, each with its reason. Pure functions of plain numbers; no files, no torch.

A run stores what was decided and by whom, so every function returns a `Rule`: the value and the reason in one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

SizePlace = Literal["tiny", "small", "medium", "large"]


@dataclass(frozen=True)
class Rule:
    """One decided setting: the value, why, and who decided ("rule" or "user")."""

    name: str
    value: Any
    why: str
    by: Literal["rule", "user"] = "rule"


def size_place(images_per_class: float) -> SizePlace:
    """Tiny <= 5, small <= 20, medium <= 100, large: the steps of few-shot benchmarks and of the cs231n quadrants."""
    if images_per_class <= 5:
        return "tiny"
    if images_per_class <= 20:
        return "small"
    return "medium" if images_per_class <= 100 else "large"


def backbone(asked: str) -> Rule:
    """EfficientNet-Lite0 unless the user names another one."""
    if asked != "auto":
        return Rule("backbone", asked, "asked for", "user")
    return Rule("backbone", "efficientnet_lite0", "the fastest embedded backbone; its weights ship with headstart")


def train(asked: str) -> Rule:
    """Only a new head: this version has no fine-tuning, so `auto` cannot choose more."""
    if asked == "head":
        return Rule("train", "head", "asked for", "user")
    return Rule("train", "head", "a new head on the frozen backbone is all that this version trains")


def folds(largest_class: int) -> Rule:
    """Five folds; fewer (at least two) only where no class has five pictures.

    A class smaller than that is judged in as many folds as it has pictures; the others need not suffer for it.
    """
    if largest_class >= 5:
        return Rule("folds", 5, "the usual five: each head trains on 80 % of the pictures")
    return Rule("folds", max(2, largest_class), f"the largest class has {largest_class} pictures")


def repeats(n: int) -> Rule:
    """Small sets repeat the folds: the spread between two random partitions of 200 pictures is about a point."""
    if n <= 300:
        return Rule("repeats", 5, "few pictures: one partition into folds is noisy, five are averaged")
    if n <= 1000:
        return Rule("repeats", 2, "some hundred pictures: two partitions into folds are averaged")
    return Rule("repeats", 1, "over a thousand pictures: one partition into folds is stable")


def too_many_bad(bad: int, n: int) -> bool:
    """More than 5 % and more than 3 unreadable pictures: something is wrong with the data, not with a picture."""
    return bad > 3 and bad > 0.05 * n


def verified_pictures(n: int) -> Rule:
    """At most 256 pictures, smallest margins first: where a difference between two engines would show first."""
    return Rule("verified_pictures", min(n, 256), "the pictures with the smallest margins show a difference first")
