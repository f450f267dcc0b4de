"""A lane of the race: one arm, its finished units, whether it is still in, and what is reported of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.howmuch.affordable import PlannedArm, duration
from headstart.howmuch.arm import Arm, FoldResult
from headstart.howmuch.score import Score, score_of

IntArray = NDArray[np.integer]


@dataclass(frozen=True)
class ArmRun:
    """What became of an arm. `units`: finished ones; `score` over all of them, None when there is none.

    `in_race`: neither failed nor stopped, so that it may be chosen. `seconds`: wall seconds of its units and what they
    were `predicted_seconds` to take (of all folds where none ran). `refit_fits`: its final training fits into what is
    left; `kept`: it does not, and the best network that a unit trained is saved in its place. `curve`: (seconds since
    the start of a fold, top-1), epoch by epoch, mean over its folds.
    """

    planned: PlannedArm
    units: int
    score: Score | None
    status: Literal["run", "stopped", "not tried"]
    why: str
    in_race: bool
    seconds: float
    predicted_seconds: float
    refit_seconds: float
    refit_fits: bool
    curve: tuple[tuple[float, float], ...]
    kept: bool = False

    @property
    def arm(self) -> Arm:
        """The arm itself."""
        return self.planned.arm


@dataclass(frozen=True)
class RaceResult:
    """Every arm of the plan with what it reached; `ended`: why the race ended, in words.

    `prediction_error`: mean of |measured / predicted - 1| over units, or None. `seconds`: wall seconds of the units.
    """

    runs: tuple[ArmRun, ...]
    ended: str
    interrupted: bool
    seconds: float
    prediction_error: float | None


class Lane:
    """One arm while the race runs."""

    def __init__(self, planned: PlannedArm) -> None:
        self.planned = planned
        self.units: list[FoldResult] = []
        self.score: Score | None = None
        self.alive = True
        self.why = ""
        self.lengthened = False
        self._seconds = 0.0
        self._predicted = 0.0
        self._labels: IntArray | None = None

    @property
    def arm(self) -> Arm:
        """The arm itself."""
        return self.planned.arm

    @property
    def kind(self) -> str:
        """Arms of one kind take equally long: one correction of the prediction serves them all."""
        return self.arm.train + (" " + self.arm.backbone if self.arm.backbone else "")

    @property
    def scored(self) -> Score:
        """Its score, where at least one unit is finished."""
        assert self.score is not None  # noqa: S101  (lanes without a score are not asked)
        return self.score

    @property
    def after(self) -> str:
        """What it has run so far: "after 2 folds"."""
        return f"after {len(self.units)} fold" + ("" if len(self.units) == 1 else "s")

    def too_dear(self, fold: float, refit: float) -> str:
        """Why it is not begun: what a fold and, unless that is kept, the final training would take, in seconds."""
        needs = f"one fold would take {duration(fold)}"
        if not self.planned.keeps:
            needs += f" and the final training {duration(refit)}"
        return f"{needs}: more than was left"

    def take(self, result: FoldResult, seconds: float, predicted: float, labels: IntArray) -> None:
        """Add a finished unit; a failed one drops the arm."""
        self._seconds += seconds
        self._predicted += predicted
        if result.failed is not None:
            self.stop(f"dropped: {result.failed}")
            return
        self.units.append(result)
        self._labels = labels
        self.score = score_of(self.units, labels, self.planned.first_epoch, self.planned.keeps)

    @property
    def epoch_seconds(self) -> float:
        """What an epoch of the last unit took, judging included."""
        seconds = self.units[-1].seconds
        return float(seconds[-1]) / len(seconds)

    def lengthen(self, result: FoldResult, seconds: float) -> None:
        """The only unit, with more epochs than before: further folds would be of another length."""
        assert self._labels is not None  # noqa: S101  (the unit was taken)
        self._seconds += seconds
        self.units, self.lengthened = [result], True
        self.score = score_of(self.units, self._labels, self.planned.first_epoch, self.planned.keeps)

    def stop(self, why: str) -> None:
        """Take the arm out of the race."""
        self.alive, self.why = False, why

    def report(self, final: tuple[float, bool, bool], ended: str) -> ArmRun:
        """What became of it, once the race has `ended`; `final`: `refit_seconds`, `refit_fits` and `kept`."""
        refit_seconds, refit_fits, kept = final
        tried = bool(self.units) or not self.alive
        return ArmRun(
            planned=self.planned,
            units=len(self.units),
            score=self.score,
            status=("run" if self.alive else "stopped") if tried else "not tried",
            why=self.why or (self.planned.why if tried else ended),
            in_race=self.alive and bool(self.units),
            seconds=self._seconds,
            predicted_seconds=self._predicted if tried else self.planned.unit.seconds + self.planned.once.seconds,
            refit_seconds=refit_seconds,
            refit_fits=refit_fits,
            curve=self._curve(),
            kept=kept and bool(self.units),
        )

    def _curve(self) -> tuple[tuple[float, float], ...]:
        if not self.units or self._labels is None:
            return ()
        epochs = min(len(u.logits) for u in self.units)
        points = []
        for e in range(epochs):
            right = np.concatenate([u.logits[e].argmax(axis=1) == self._labels[u.rows] for u in self.units])
            points.append((float(np.mean([u.seconds[e] for u in self.units])), float(right.mean())))
        return tuple(points)
