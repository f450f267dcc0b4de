"""A world in which it is known how good every arm is: simulated out-of-fold logits instead of training."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np

from headstart.howmuch.affordable import WILL, PlannedArm
from headstart.howmuch.allowance import Allowance, Cost
from headstart.howmuch.arm import Arm, FoldResult, FrozenAnswer, amount_order
from headstart.howmuch.plan import Plan
from headstart.howmuch.score import cooled

EPOCHS = 4
DIFFICULTY, NOISE, SHARED = 1.6, 0.6, 0.5  # of the pictures; of a classifier; its share that all arms have in common
SPREAD = float(np.hypot(DIFFICULTY, NOISE))
RATES = (3e-4, 1e-3, 3e-3)


@dataclass
class World:
    """`n` pictures of two classes. `frozen`: accuracy of answer A; `gains`: of every arm over it, by key.

    Fine-tuned logits are three times too confident and get better epoch by epoch; arms resemble each other more than
    the frozen head. `seconds`: what a unit takes, by key (default 1); the clock runs only while a unit runs.
    """

    n: int = 200
    frozen: float = 0.9
    gains: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    folds_count: int = 5
    repeats: int = 1
    seed: int = 0
    sharper: float = 1.0  # factor on the margins of wrong answers: the same answers, lower log-loss
    unjudged: int = 0
    time: float = 0.0
    log: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([7, self.seed])
        self.labels = rng.permutation(np.arange(self.n) % 2)
        self.difficulty = rng.normal(size=self.n) * DIFFICULTY
        self.shared = rng.normal(size=self.n)
        self.folds = np.stack([rng.permutation(np.arange(self.n) % self.folds_count) for _ in range(self.repeats)])
        self.folds[:, : self.unjudged] = -1

    def answer(self, groups: np.ndarray | None = None) -> FrozenAnswer:
        """Answer A, cooled, as the probe gives it."""
        rng = np.random.default_rng([8, self.seed])
        logits = self._logits(self.frozen, rng.normal(size=self.n))
        judged = self.folds[0] >= 0
        temperature = cooled(logits[judged], self.labels[judged])[0] if judged.any() else 1.0
        logits = np.where(judged[:, None], logits / temperature, 0).astype(np.float32)
        return FrozenAnswer(logits, judged, self.labels, groups, "on depths 5-7", 10.0)

    def run(self, arm: Arm, repeat: int, fold: int) -> FoldResult:
        """A Runner."""
        self.log.append((arm.key, repeat, fold))
        rows = np.flatnonzero(self.folds[repeat] == fold)
        rng = np.random.default_rng([9, self.seed, zlib.crc32(arm.key.encode()), repeat, fold])
        own = rng.normal(size=(EPOCHS + 1, len(rows)))
        own = np.sqrt(0.8) * own[:1] + np.sqrt(0.2) * own  # epochs of one arm resemble each other
        noise = np.sqrt(SHARED) * self.shared[rows] + np.sqrt(1 - SHARED) * own
        gain = self.gains.get(arm.key, self.gains.get(arm.train, 0.0))
        ramp = np.array([-0.05, -0.02, 0.0, 0.0, gain / 2 - gain])
        every = np.stack([self._logits(self.frozen + gain + r, noise[e], rows) for e, r in enumerate(ramp)])
        took = self.seconds.get(arm.key, self.seconds.get(arm.train, 1.0))
        self.time += took
        seconds = took * np.arange(1, EPOCHS + 1, dtype=np.float32) / EPOCHS
        return FoldResult(rows, 3 * every[:EPOCHS], seconds, 10 * EPOCHS, 3 * every[EPOCHS])

    def truth(self, arm: Arm | None) -> float:
        """How good an arm, or (None) the frozen head, is in truth."""
        return self.frozen if arm is None else self.frozen + self.gains.get(arm.key, self.gains.get(arm.train, 0.0))

    def plan(self, amounts: tuple[str, ...], pinned: str = "auto", predicted: float = 1.0) -> Plan:
        """Every amount at three rates, cheapest first; a unit is predicted to take `predicted` times what it does."""
        arms = [Arm(train, rate) for train in sorted(amounts, key=amount_order) for rate in RATES]
        return self.plan_of(arms, pinned, predicted)

    def plan_of(self, arms: list[Arm], pinned: str = "auto", predicted: float = 1.0) -> Plan:
        planned = []
        for arm in arms:
            took = self.seconds.get(arm.key, self.seconds.get(arm.train, 1.0)) * predicted
            unit, refit = Cost(took, 10 * EPOCHS), Cost(1.25 * took, round(12.5 * EPOCHS))
            planned.append(PlannedArm(arm, unit, Cost(0.0, 0), refit, "as planned", WILL))
        return Plan(tuple(planned), self.folds_count, self.repeats, EPOCHS, "simulated", pinned)

    def clock(self, total: float, reserve: float = 0.0) -> Allowance:
        """A wall-clock allowance on the simulated clock."""
        return Allowance(total, reserve, lambda: self.time)

    def again(self) -> World:
        """The same world, its clock and log at the beginning."""
        return replace(self, time=0.0, log=[])

    def _logits(self, accuracy: float, noise: np.ndarray, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        mean = NormalDist().inv_cdf(min(max(accuracy, 0.01), 0.995)) * SPREAD
        margin = mean + self.difficulty[rows] + NOISE * noise
        margin = np.where(margin < 0, margin * self.sharper, margin)
        sign = np.where(self.labels[rows] == 1, 0.5, -0.5) * margin
        return np.stack([-sign, sign], axis=1).astype(np.float32)
