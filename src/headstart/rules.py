"""Policy: facts about the data -> defaults, each with its reason. Pure functions of plain numbers; no files, no torch.

A run stores what was decided and by whom, so every function returns a `Rule`: the value and the reason in one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
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


def embedded_with(name: str) -> Rule:
    """The backbone of an embedded folder: another one would have to see every picture again."""
    return Rule("backbone", name, "the pictures are embedded with it")


def vectors_fit(n: int, row_bytes: int, memory: int) -> Rule:
    """Whether the vectors of `n` pictures fit into `memory` bytes.

    Looking, heads and a race hold them up to twice, and as much again in blocks and results: three times the vectors
    may take half of the memory.
    """
    needed = 3 * n * row_bytes
    told = f"the vectors of {n} pictures need {needed / 1e9:.1f} GB of memory, this machine has {memory / 1e9:.1f}"
    return Rule("in_memory", needed <= memory // 2, told)


def hashed_folds() -> Rule:
    """Five folds dealt by a hash: at this many pictures chance keeps the classes in proportion."""
    return Rule("folds", 5, "the usual five, by a hash of groups and equal pictures")


def train(asked: str) -> Rule:
    """Whatever the race decides, unless the user pins it."""
    if asked != "auto":
        return Rule("train", asked, "asked for", "user")
    return Rule("train", "auto", "decided by a race on held-out pictures; a tie goes to less training")


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


def epochs(n: int) -> Rule:
    """About 300 steps of 16 pictures, 6 to 20 epochs: a choice from a few trials, no measured optimum.

    Where the time is short `howmuch.affordable.epochs_in_time` takes fewer, down to `least_epochs`.
    """
    value = min(20, max(6, ceil(300 / ceil(n / 16))))
    return Rule("epochs", value, "about 300 steps; early stop takes fewer where that is better")


def least_epochs(n: int) -> Rule:
    """2 to 4, about 1,500 pictures: before that, training more than a head is behind the head it started from.

    By hand, the last three stages at 0.01 on 200 digits, test top-1 after each epoch: mnist5k, head 93.0: 90, 93, 94,
    94, 95; digits8, head 96.3: 91, 96, 95, 97, 98.
    """
    return Rule("least_epochs", min(4, max(2, ceil(1500 / n))), "fewer leave the network worse than its frozen start")


def layer_decay(similarity: str) -> Rule:
    """How fast a stage learns beside the one above it: 0.4 near the source, 0.6 in between, 0.8 far from it.

    Near the source, what the lower stages see is right already. By hand, the last three stages, 20 pictures per class,
    four epochs, head cooled by 2.5 or 3, log-loss on new pictures at decays of 0.3, 0.65, 0.8 and 1: gcompris (0.01)
    0.19, 0.52, 0.40, 0.49; nature (0.01) 0.20, 0.28, 0.46, 0.49; but mnist5k (0.03) 0.26, 0.20, 0.11, 0.27.
    """
    decay = {"near": 0.4, "middle": 0.6}.get(similarity, 0.8)
    return Rule("layer_decay", decay, f"the pictures are {similarity}: the nearer, the less lower stages need to move")


def epochs_to_gain(n: int) -> Rule:
    """2 to 6, about 1,500 pictures: from then on, far from the source, training two stages or more was ahead.

    Last-3 at 0.01, 600 test pictures, the head and after each epoch (by hand): digits8, 200 pictures, 95.2: 89.5, 95.3,
    96.3, 97.3, 97.7, 97.0; mnist5k, 200, 91.7: 86.7, 90.7, 90.8, 92.0, 93.8, 93.2, and 600, 94.5: 94.2, 96.5, 97.2;
    elpv, 600, 84.2: 82.5, 86.0, 86.0.
    """
    return Rule("epochs_to_gain", min(6, max(2, ceil(1500 / n))), "with fewer it was not ahead on other pictures")


def gain_elsewhere(train: str, similarity: str, n: int, epochs: int) -> Rule:
    """What training this much for `epochs` gained over a new head on other pictures as far from the source, or None.

    Mean and standard deviation, in shares of the new head's errors: 0.3 of ten percent are three points. Test figures
    of `benchmarks/experience.py`, last-3 at 0.01, of the sets whole and cut to 20 and to 5 pictures per class: digits8
    0.4, 0.5, 0.3; mnist5k 0.45, 0.4, 0.3; elpv 0.15, -0.1. The last stage alone gained nothing; on 10 pictures (elpv)
    three stages lost 0.2. Near the source nothing is gained (nature 0, -0.1, 0.05; gcompris -0.3, -0.3, -0.2), and one
    (emoji_subgroup, 0.05 and 0) is in between: no experience is better than that.
    """
    deep = train == "all" or (train.startswith("last-") and train != "last-1")
    if not deep or similarity != "far" or n < 30 or epochs < epochs_to_gain(n).value:
        return Rule("gain_elsewhere", None, "no experience that would tell")
    why = "three sets far from the source gained up to half of the errors, 0.3 on the mean"
    return Rule("gain_elsewhere", (0.3, 0.2), why)


def keeps_folds(n: int) -> Rule:
    """Whether what a fold trained may be saved where there is no time to train on everything: from 200 pictures on.

    Fewer are soon trained on, and a fifth of them is missed. By hand, the last three stages at 0.01, 600 test pictures,
    trained on four pictures of five and on all: digits8, 50 pictures, 85 and 91; mnist5k, 50, 84 to 89 and 88.

    Of more it is missed too: all for `epochs_to_gain` are about as good as four of five for as long as may pay. By
    hand, 800 test pictures, four of five for 20 epochs (mean of three folds), and all for 4, 6, 8, 10 and 20: mnist5k,
    200 pictures, 96.1; 94.4, 96.0, 96.9, 97.2, 98.0; digits8, 200, 96.7; 97.2, 97.6, 97.2, 98.0, 97.4. Of 600 (mnist5k)
    four of five for 8 epochs, and all for 3, 4, 5 and 8: 98.2; 98.0, 98.1, 98.5, 98.3.
    """
    return Rule("keeps_folds", n >= 200, "a fifth of fewer pictures is missed")


def batch(n: int) -> Rule:
    """16 pictures, from 2,000 on 32; fewer where that would leave less than four steps per epoch.

    16 train about as fast as 32, and it is steps that small sets need. But a step costs something by itself: the last
    three stages learned from 30 to 37 pictures a second in sixes, from 43 to 47 in eights and sixteens, and on 50
    pictures sixteens led to the same accuracy as eights (by hand, digits8 and mnist5k, ten epochs and more).
    """
    size = 16 if n < 2000 else 32
    return Rule("batch", min(size, max(4, n // 4)), f"{size}, or a quarter of the pictures")


def amounts(asked: str, stages: int, budget: float) -> Rule:
    """What is raced: the last 1 to 3 block groups, norms and everything; of `stages` block groups.

    From half an hour on, training from scratch is run once, to show what the head start bought.
    """
    if asked != "auto":
        return Rule("amounts", (asked,), "asked for", "user")
    last = tuple(f"last-{k}" for k in range(1, min(3, stages - 1) + 1))
    scratch = ("scratch",) if budget >= 1800 else ()
    return Rule("amounts", ("extra", "norms", *last, "all", *scratch), "each is another answer to how much to train")


def kept_for_showing(budget: float) -> float:
    """Seconds of the budget that are kept for explain/ and the report: a tenth; six are enough for both."""
    return min(6.0, 0.1 * budget)


def left_for_showing(budget: float, first_answer: float, elapsed: float) -> float:
    """Seconds that looking at the pictures again may take: a budget may be exceeded by a tenth, or the first by five.

    Two seconds of that are for the report itself.
    """
    return max(1.1 * budget, first_answer + 5.0) - elapsed - 2.0


def extra_layers(n: int, frozen_top1: float, asked: tuple[int, ...], train: str = "auto") -> Rule:
    """Extra layers after the frozen ones are raced where they ever paid: see `head.layers` for the figures."""
    if asked:
        return Rule("extra_layers", asked, "asked for", "user")
    if train == "extra":
        return Rule("extra_layers", (512,), "one layer of 512: the best of the few widths that were tried")
    if n < 1000:
        why = "under a thousand pictures extra layers were never better than a linear head beyond noise"
        return Rule("extra_layers", (), why)
    if frozen_top1 >= 0.95:
        return Rule("extra_layers", (), "the linear head leaves too little to learn")
    why = "a thousand pictures or more and over 5 % errors: extra layers may pay, so they are raced"
    return Rule("extra_layers", (512,), why)
