"""The race: successive halving over (arm, repeat, fold) within an allowance, on out-of-fold results of the same folds.

Jamieson & Talwalkar 2016, with folds as the resource instead of epochs: a fold trains to the end, so schedules
are never compared half-way. The decision is made elsewhere (`verdict`); here is decided only what is worth more folds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart import interrupts
from headstart.howmuch.affordable import fewest_folds
from headstart.howmuch.allowance import Allowance, Cost
from headstart.howmuch.arm import Arm, FoldResult, FrozenAnswer, Runner, failed_unit, nothing_to_win
from headstart.howmuch.experience import LEAST_JUDGED
from headstart.howmuch.lane import Lane, RaceResult
from headstart.howmuch.longer import SLACK, lengthen
from headstart.howmuch.plan import Plan, named
from headstart.howmuch.race_options import RaceOptions, Step
from headstart.howmuch.score import behind, behind_frozen, ranked

IntArray = NDArray[np.integer]

ROOMY = 0.5  # share of the time left within which arms are judged in full rather than halved away
STARTS = 0.5  # share of the time left that first folds may take even where the best arm cannot be judged in full then
PATIENCE = 15.0  # seconds of final training that someone who pressed Ctrl-C is still asked to wait
CAREFUL = 1.2  # times its prediction that a further fold may take: one fold less beats one too many to train in the end


def race(
    plan: Plan,
    runner: Runner,
    answer: FrozenAnswer,
    folds: IntArray,
    allowance: Allowance,
    options: RaceOptions | None = None,
) -> RaceResult:
    """Run units of `plan` while they fit into `allowance`; never raises KeyboardInterrupt.

    `folds` int64 `(repeats, n)`, -1 = never judged. Raises ValueError when a unit judged other rows than its fold.
    """
    running = _Race(plan, runner, answer, np.atleast_2d(folds), allowance, options or RaceOptions())
    interrupted = False
    try:
        ended = running.run()
    except KeyboardInterrupt:
        ended, interrupted = "interrupted", True
    return running.result(ended, interrupted)


class _Race:
    def __init__(
        self,
        plan: Plan,
        runner: Runner,
        answer: FrozenAnswer,
        folds: IntArray,
        allowance: Allowance,
        options: RaceOptions,
    ) -> None:
        self._plan, self._runner, self._answer, self._folds = plan, runner, answer, folds
        self._allowance, self._options = allowance, options
        self._lanes = [Lane(planned) for planned in plan.arms]
        self._racing = [x for x in self._lanes if x.arm.train != "scratch" or plan.pinned == "scratch"]
        trains = [x.arm.train for x in self._racing]
        self._likeliest = [x for at, x in enumerate(self._racing) if x.arm.train not in trains[:at]]
        self._prepared: set[str] = set()  # amounts whose cut cache is filled
        self._late, self._waited = False, False
        self._at_once = 1 if allowance.in_steps else self._options.at_once
        self._seconds, self._interrupts = 0.0, interrupts.asked()
        parts = [[int(f) for f in np.unique(repeat) if f >= 0] for repeat in folds]
        self._units = [(r, f) for r, of_repeat in enumerate(parts) for f in of_repeat]
        self._once_through = len(parts[0]) if parts else 0

    def run(self) -> str:
        """All rungs; why it ended."""
        if not self._units or not self._answer.judged.any():
            return "no picture can be held out, so more training could not be judged"
        if not self._lanes:
            return "nothing to race"
        if self._plan.pinned == "auto" and (reason := nothing_to_win(self._answer)) is not None:
            return reason
        # What was too dear while others had to be judged is started when those are judged, or dropped.
        while self._first_rung():
            self._judge_further()
        self._references()
        if self._late:
            return "what is left of the budget fits nothing more"
        return "everything that was worth trying is tried"

    def result(self, ended: str, interrupted: bool) -> RaceResult:
        runs = []
        for lane in self._lanes:
            seconds = self._allowance.seconds(lane.kind, lane.planned.refit)
            fits = seconds <= PATIENCE if interrupted else self._allowance.fits(self._refit(lane), SLACK)
            kept = not fits and lane.planned.keeps and self._options.kept(lane.arm)
            runs.append(lane.report((seconds, fits, kept), ended))
        return RaceResult(tuple(runs), ended, interrupted, self._seconds, self._allowance.error())

    def _rungs(self) -> list[int]:
        """Units per arm: doubled up to all folds of one repeat, then repeat by repeat."""
        targets, done = [], 1
        while done < self._once_through:
            done = min(2 * done, self._once_through)
            targets.append(done)
        starts = [sum(r < repeat for r, _ in self._units) for repeat in range(2, len(self._folds) + 1)]
        return targets + starts

    def _judge_further(self) -> None:
        """More folds for the better ones, rung by rung."""
        for target in self._rungs():
            alive = self._alive()
            if not alive:
                break
            kept = self._keep(alive, target)
            self._announce(kept, target)
            for lane in kept:
                self._more(lane, target)

    def _first_rung(self) -> bool:
        """The first fold of every arm that fits: every amount at its likeliest rate, then other rates of it.

        Where the likeliest rate was dropped the others wait until all else is judged. So do those of every amount where
        one that gained on other pictures is in the race and this one did not. Whether any was started.
        """
        waiting = [lane for lane in self._racing if lane.alive and not lane.units]
        starts = (1.0 - STARTS) * self._allowance.left()  # what is left where half of it went into first folds
        begun = self._begin([x for x in waiting if x in self._likeliest], starts)
        self._lengthen()
        dropped = {x.arm.train for x in self._racing if x.units and not x.alive and not self._waited}
        others = [x for x in waiting if x not in self._likeliest]
        promising = not self._waited and any(x.planned.promising and x.alive and x.units for x in self._racing)
        for lane in others:
            lane.why = "the likeliest rate of it is behind beyond noise" if lane.arm.train in dropped else ""
            if promising and not lane.planned.promising:
                lane.why = "what gained on other pictures of the kind comes first"
        begun |= self._begin([x for x in others if not x.why], starts)
        self._waited = True
        return begun

    def _begin(self, waiting: list[Lane], starts: float) -> bool:
        """The first fold of those that fit, in this order (`_why_not`); whether any was started."""
        costs = np.cumsum([self._unit(lane) for lane in waiting]) / self._at_once + self._refits(*waiting)
        self._announce(waiting[: sum(self._allowance.fits(cost) for cost in costs)], 1)
        for lane in waiting:
            lane.why = "" if self._free(lane) else self._why_not(lane, starts)
            if lane.why:
                self._late = True
                continue
            self._step(lane)
            self._drop_beaten([lane])
            if lane.planned.promising:
                self._hear_experience(lane)
        return any(lane.units or not lane.alive for lane in waiting)

    def _why_not(self, lane: Lane, starts: float) -> str:
        """Why an arm is not begun, or nothing: what it would take from those that were.

        The best can still be judged, in full where half of the time went into first folds, else on the fewest that tell
        something: a dear arm that was never begun can never win, while the last folds of a cheap one tell little. And
        nothing takes the time in which the best can be trained on everything.
        """
        unit = self._unit(lane)
        if not self._allowance.fits(unit + self._refits(lane)):
            return self._too_dear(lane)
        if not self._allowance.fits(unit + self._final(lane)):
            return "the time that is left goes into training the best on everything"
        if (best := self._best()) is not None:
            early = self._allowance.left() - unit >= starts
            finish = self._unit(best) * max(0, self._enough(best, early) - len(best.units))
            possible = not early or self._allowance.fits(finish + self._refits(best))
            if possible and not self._allowance.fits(unit + self._refits(lane) + finish):
                return "the time that is left goes into judging what was tried"
        return ""

    def _hear_experience(self, lane: Lane) -> None:
        """The first of what gained on other pictures is judged on as many as it takes for that to count.

        Of few pictures a fold is chance: with seven arms begun on ten each the time ended before any was judged on 30.
        """
        if lane.alive and all(len(x.scored.rows) < LEAST_JUDGED for x in self._alive() if x.planned.promising):
            target = self._enough(lane, early=True)
            self._announce([lane], target)
            self._more(lane, target)
            self._drop_beaten([lane])

    def _lengthen(self) -> None:
        """Epochs more for the best, where it will be saved as its first fold trained it."""
        if (best := self._best()) is not None:
            self._seconds += lengthen(best, self._allowance, self._options, self._refit(best), self._refits())
            interrupts.raise_if_asked(self._interrupts)

    def _keep(self, alive: list[Lane], target: int) -> list[Lane]:
        """Who gets more folds: the better half at least; more where time is plenty, fewer where it is short."""
        order = self._promising_first(self._drop_beaten(self._order(alive)))
        count = min(len(order), max(2, (len(order) + 1) // 2)) if target <= self._once_through else min(len(order), 2)
        if target <= self._once_through:
            rest = np.cumsum([self._unit(x) * (self._once_through - len(x.units)) for x in order]) / self._at_once
            count = max(count, int(np.searchsorted(rest, ROOMY * self._allowance.left(), side="right")))
        while count > 1 and not self._allowance.fits(self._rung_cost(order[:count], target)):
            count, self._late = count - 1, True
        for lane in order[count:]:
            if target <= self._once_through:
                lane.stop(f"others were better {lane.after}")
        return order[:count]

    def _rung_cost(self, lanes: list[Lane], target: int) -> float:
        """All of a rung, and the rest of the folds for the first of `lanes`."""
        cost = sum(self._unit(x) * max(0, target - len(x.units)) for x in lanes)
        cost += self._unit(lanes[0]) * max(0, self._once_through - target)
        return cost / self._at_once + self._refits(*lanes)

    def _announce(self, lanes: list[Lane], target: int) -> None:
        """Let the runner begin everything up to `target` units per lane that is not kept already."""
        ledger, units = self._options.ledger, [(x.arm, *u) for x in lanes for u in self._units[len(x.units) : target]]
        if self._options.ahead is not None:
            self._options.ahead([unit for unit in units if ledger is None or ledger.read(*unit) is None])

    def _more(self, lane: Lane, target: int) -> None:
        """Units of a lane up to `target`, as far as the time allows."""
        while lane.alive and not lane.lengthened and len(lane.units) < min(target, len(self._units)):
            careful = CAREFUL if lane.units else 1.0
            final = max(self._final(lane), self._if_it_fits(lane))
            if not self._allowance.fits(careful * self._unit(lane) + final) and not self._free(lane):
                lane.why, self._late = f"the time ended {lane.after}", True
                return
            self._step(lane)

    def _drop_beaten(self, order: list[Lane]) -> list[Lane]:
        """Without the arms whose 90 % interval against the leader, or against the frozen head, lies below zero."""
        leader, kept = order[0], []
        for lane in (x for x in order if x.alive):
            score = lane.scored
            gap, against = None, "the new head"
            if self._plan.pinned == "auto":
                gap = behind_frozen(score, self._answer)
            if gap is None and lane is not leader:
                gap, against = behind(score, leader.scored, self._answer.groups), named(leader.arm)
            if gap is None:
                kept.append(lane)
            else:
                lane.stop(f"{100 * gap:.1f} points behind {against} {lane.after}")
        return kept

    def _references(self) -> None:
        """From scratch, once, when all else is done: it shows what the head start bought."""
        for lane in self._lanes:
            if lane not in self._racing:
                if self._allowance.fits(self._unit(lane) + self._refits()) or self._free(lane):
                    self._step(lane)
                else:
                    lane.why = self._too_dear(lane)

    def _step(self, lane: Lane) -> None:
        """One unit: read back or run, kept, counted, scored."""
        repeat, fold = self._units[len(lane.units)]
        ledger = self._options.ledger
        predicted = self._predicted(lane) if self._at_once == 1 else lane.planned.unit
        found = None if ledger is None else ledger.read(lane.arm, repeat, fold)
        before = self._allowance.left()
        result = found or self._run(lane.arm, repeat, fold)
        seconds = before - self._allowance.left()
        if found is None and ledger is not None:
            ledger.write(lane.arm, repeat, fold, result)
        if found is not None or self._allowance.in_steps or self._at_once > 1:
            seconds = float(result.seconds[-1]) if len(result.seconds) else 0.0
        self._prepared.add(lane.kind)
        self._allowance.spend(lane.kind, predicted, 0.0 if result.failed else seconds, result.steps)
        self._seconds += seconds
        lane.take(result, seconds, predicted.seconds, self._answer.labels)
        if self._options.tell is not None:
            top1 = None if lane.score is None or result.failed else lane.score.top1
            self._options.tell(Step(lane.arm, repeat, fold, top1, self._allowance.left(), found is not None))
        interrupts.raise_if_asked(self._interrupts)

    def _run(self, arm: Arm, repeat: int, fold: int) -> FoldResult:
        held = np.flatnonzero(self._folds[repeat] == fold)
        try:
            result = self._runner(arm, repeat, fold)
        except MemoryError:
            result = failed_unit(held, "out of memory")
        if result.failed is None and (not len(result.logits) or not np.isfinite(result.logits).all()):
            result = failed_unit(held, "the loss became NaN", result.steps)
        if result.failed is None and not np.array_equal(np.sort(result.rows), held):
            raise ValueError(f"{arm.key} judged {len(result.rows)} rows that are not fold {fold} of repeat {repeat}")
        return result

    def _free(self, lane: Lane) -> bool:
        """Whether the next unit can be read back without spending anything."""
        if self._allowance.in_steps or self._options.ledger is None:
            return False
        return self._options.ledger.read(lane.arm, *self._units[len(lane.units)]) is not None

    def _predicted(self, lane: Lane) -> Cost:
        planned = lane.planned
        return planned.unit if lane.kind in self._prepared else planned.unit + planned.once

    def _unit(self, lane: Lane) -> float:
        return self._allowance.cost(lane.kind, self._predicted(lane))

    def _refit(self, lane: Lane) -> float:
        return self._allowance.cost(lane.kind, lane.planned.refit)

    def _refits(self, *lanes: Lane) -> float:
        """The dearest final training that `lanes` and all in the race may need; what a fold trained may be kept."""
        return max((self._refit(x) for x in (*self._alive(), *lanes) if not x.planned.keeps), default=0.0)

    def _final(self, *lanes: Lane) -> float:
        """The final training that time is left for: as `_refits`, and that of the best so far if it fits now."""
        best = self._best()
        return max(self._refits(*lanes), 0.0 if best is None else self._if_it_fits(best))

    def _if_it_fits(self, lane: Lane) -> float:
        """The final training of `lane` if there is time: all pictures are better than one more fold, or rate."""
        final = self._refit(lane)
        return final if self._allowance.fits(final, SLACK) else 0.0

    def _alive(self) -> list[Lane]:
        return [x for x in self._racing if x.alive and x.score is not None]

    def _best(self) -> Lane | None:
        """The first of those in the race, by what is known now; None before any was judged."""
        alive = self._alive()
        return self._promising_first(self._order(alive))[0] if alive else None

    def _order(self, lanes: list[Lane]) -> list[Lane]:
        return [lanes[i] for i in ranked([x.scored for x in lanes], self._answer.groups)]

    def _enough(self, lane: Lane, early: bool) -> int:
        """Folds that a lane has to be judged on: all, or so `early` the fewest that tell something."""
        n, folds = self._folds.shape[1], max(1, self._once_through)
        return fewest_folds(n, folds, lane.planned.promising) if early else folds

    def _promising_first(self, order: list[Lane]) -> list[Lane]:
        """What gained on other pictures first, the longer judged before others; on too few pictures as planned."""

        def place(lane: Lane) -> tuple[int, int]:
            planned = self._racing.index(lane) if len(lane.scored.rows) < LEAST_JUDGED else 0
            return (-len(lane.units), planned) if lane.planned.promising else (0, 0)

        return sorted(order, key=place)

    def _too_dear(self, lane: Lane) -> str:
        fold, refit = self._predicted(lane), lane.planned.refit
        return lane.too_dear(self._allowance.seconds(lane.kind, fold), self._allowance.seconds(lane.kind, refit))
