"""The nouns of the race: an arm (one way of training more), what one fold of it gave, and who runs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

Amount = str  # "head" < "extra" < "norms" < "last-1" < "last-2" < ... < "all"; "scratch" is a reference only
_FIXED = {"head": 0, "extra": 1, "norms": 2, "all": 100, "scratch": 1000}


def amount_order(train: Amount) -> int:
    """Less training first: head 0, extra 1, norms 2, last-k 2 + k, all 100, scratch 1000. ValueError if unknown."""
    if train in _FIXED:
        return _FIXED[train]
    match = re.fullmatch(r"last-([1-9]\d?)", train)
    if match is None:
        raise ValueError(f"{train!r} is no amount of training: head, extra, norms, last-K, all, scratch")
    return 2 + int(match[1])


def in_words(train: Amount) -> str:
    """An amount as it stands in a sentence: "a new head", "the last 2 stages"."""
    words = {
        "head": "a new head",
        "extra": "extra layers after the frozen network",
        "norms": "the norms and biases",
        "last-1": "the last stage",
        "all": "everything",
        "scratch": "everything from scratch",
    }
    return words.get(train) or f"the last {amount_order(train) - 2} stages"


HOPELESS = 2  # wrong answers of the frozen head up to which even an arm without any could not be told from it


@dataclass(frozen=True)
class Arm:
    """One way of training more than a new head.

    `learning_rate` relative to the recipe of its amount, None where there is nothing to choose. `fresh`: a small random
    head instead of the cross-validated one (far data). `extra_layers`: widths of layers between network and head.
    `backbone`: its name, empty for the one of the frozen answer.
    """

    train: Amount
    learning_rate: float | None = None
    fresh: bool = False
    extra_layers: tuple[int, ...] = ()
    backbone: str = ""
    why: str = ""

    @property
    def key(self) -> str:
        """Unique among arms and safe as part of a file name; does not depend on `why`."""
        parts = [self.train]
        if self.learning_rate is not None:
            parts.append(f"lr{self.learning_rate:g}")
        parts += ["fresh"] if self.fresh else []
        parts += ["x".join(str(width) for width in self.extra_layers)] if self.extra_layers else []
        parts += [re.sub(r"[^A-Za-z0-9.]+", "-", self.backbone)] if self.backbone else []
        return "_".join(parts)


@dataclass(frozen=True)
class FoldResult:
    """What one unit (arm, repeat, fold) gave: E epochs on m held-out rows of K classes.

    `rows` int64 `(m,)`; `logits` float32 `(E, m, K)`, one per epoch, of the averaged (EMA) weights in fp32; `seconds`
    `(E,)` wall since the unit's start; `steps` of the optimizer; `blend` float32 `(m, K)` of weights halfway between
    start and end (WiSE-FT) or None. `failed` says why E is 0 ("the loss became NaN", "out of memory").
    """

    rows: IntArray
    logits: FloatArray
    seconds: FloatArray
    steps: int
    blend: FloatArray | None = None
    failed: str | None = None


def failed_unit(rows: IntArray, why: str, steps: int = 0) -> FoldResult:
    """A unit that gave nothing."""
    return FoldResult(rows, np.zeros((0, len(rows), 0), np.float32), np.zeros(0, np.float32), steps, failed=why)


Runner = Callable[[Arm, int, int], FoldResult]  # (arm, repeat, fold)


@dataclass(frozen=True)
class FrozenAnswer:
    """Answer A, which every arm has to beat: out-of-fold `logits` float32 `(n, K)`, cooled by their temperature.

    `judged` `(n,)` says where they mean anything; `labels` `(n,)`; `groups` `(n,)`: rows that belong together, or None.
    `what` ends the sentence "Train only a new head ...", such as "on depths 5-7". `seconds`: what answer A took.
    `figures`: its accuracy corrected for having been chosen, low and high end (95 %); by default what the rows say.
    `expected`: what an amount of training gained on other pictures of the kind (`rules.gain_elsewhere`), where known.
    """

    logits: FloatArray
    judged: NDArray[np.bool_]
    labels: IntArray
    groups: IntArray | None = None
    what: str = ""
    seconds: float = 0.0
    figures: tuple[float, float, float] | None = None
    expected: Mapping[Amount, tuple[float, float]] = field(default_factory=dict)


def nothing_to_win(answer: FrozenAnswer) -> str | None:
    """Why no arm could be told from the frozen head, however good; None where one could."""
    wrong = int((answer.logits.argmax(axis=1) != answer.labels)[answer.judged].sum())
    if wrong > HOPELESS:
        return None
    return f"the new head leaves nothing to win: {wrong} of {int(answer.judged.sum())} pictures are wrong"
