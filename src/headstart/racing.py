"""Racing: from what the probe found to a verdict on how much to train, within the budget."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import rules
from headstart.answer import Answer
from headstart.backbone.torch_only import why_in_torch
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.howmuch.affordable import WILL, duration
from headstart.howmuch.allowance import Allowance
from headstart.howmuch.arm import FrozenAnswer, nothing_to_win
from headstart.howmuch.lane import RaceResult
from headstart.howmuch.ledger import Ledger, kept_epochs
from headstart.howmuch.plan import Plan, plan
from headstart.howmuch.race import race
from headstart.howmuch.race_options import RaceOptions, Step
from headstart.howmuch.similarity import Similarity
from headstart.howmuch.verdict import Verdict, judge_race
from headstart.planning import facts_for, in_time
from headstart.progress import Progress
from headstart.run import Run
from headstart.spreading import Spread, spread
from headstart.training import Ground, Trainer, flip_notes, short_of_memory

RACE = "race"  # folder of finished units in that of the run; forgotten when the run is finished
LEAST_TIME = 3.0  # seconds below which nothing is even measured
MARGIN = 1.25  # over a prediction, where the budget is stretched for what was asked for


@dataclass(frozen=True)
class Raced:
    """What the race found. `verdict` None: no race; `ended` says why. `answer`: the new one, None to keep answer A."""

    ended: str
    plan: Plan | None = None
    result: RaceResult | None = None
    verdict: Verdict | None = None
    answer: Answer | None = None
    frozen: FrozenAnswer | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False


INTERRUPTED = Raced("interrupted", interrupted=True)


@dataclass(frozen=True)
class Terms:
    """Under which the race is run: what was asked for, where units are kept, how time is counted and told."""

    config: FitConfig
    run: Run
    clock: Clock
    progress: Progress
    reserve: float = 0.0


def race_for_more(ground: Ground, similarity: Similarity, answer: Answer, terms: Terms) -> Raced:
    """Plan, race, decide, and train the winner on everything. Ctrl-C ends it with the best that is finished."""
    frozen = _frozen(ground, answer, terms)
    if (reason := _hopeless(ground, frozen, terms)) is not None:
        return Raced(reason, frozen=frozen)
    with terms.clock("plan"):  # imports torch
        trainer = Trainer(ground, {}, terms.progress.say, similarity.place)
    with spread(trainer, terms.config.on, terms.run.folder) as workers:
        return _raced(trainer, workers, similarity, frozen, terms)


def _raced(trainer: Trainer, workers: Spread, similarity: Similarity, frozen: FrozenAnswer, terms: Terms) -> Raced:
    ground, clock = trainer.ground, terms.clock
    raced = Raced("interrupted", frozen=frozen, interrupted=True)
    try:
        with clock("plan"):
            terms.progress.start("plan")
            planned, terms = _planned(trainer, similarity, terms)
        frozen = _experienced(frozen, similarity.place, planned)
        notes = tuple(flip_notes(trainer.flips))
        for line in (planned.why, *notes):
            terms.progress.say(line)
        with clock("race"):
            result = _run(planned, trainer, workers, frozen, terms)
            verdict = judge_race(frozen, result, planned.pinned, terms.config.seed)
        raced = Raced(result.ended, planned, result, verdict, None, frozen, notes, result.interrupted)
        if verdict.arm is not None:
            with clock("refit"):
                if not verdict.kept:
                    terms.progress.start(f"train {verdict.train} on everything")
                raced = replace(raced, answer=_refitted(ground, trainer, verdict))
    except KeyboardInterrupt:
        if raced.plan is not None and raced.interrupted:
            raise  # the second one
        return replace(raced, ended="interrupted", interrupted=True, verdict=None)
    except ArithmeticError as error:  # on everything, where it did not on the folds
        terms.progress.say(f"training on everything failed ({error}): the new head stays")
        return replace(raced, ended=f"training on everything failed: {error}", verdict=None)
    except (MemoryError, RuntimeError) as error:
        if not short_of_memory(error):
            raise
        terms.progress.say("memory is too short for more training: the new head stays")
        return replace(raced, ended="out of memory", interrupted=False, verdict=None)
    return raced


def _planned(trainer: Trainer, similarity: Similarity, terms: Terms) -> tuple[Plan, Terms]:
    """The plan, and the terms: what the user asked for by name is trained even when the budget is too short for it."""
    facts = in_time(facts_for(trainer, similarity, terms.config, _allowance(terms)))
    resumed = terms.config.when_exists == "resume"
    facts = replace(facts, epochs=kept_epochs(terms.run.folder / RACE, facts.n, facts.epochs, resumed))
    trainer.epochs = facts.epochs
    planned = plan(facts)
    trainer.keep = frozenset(p.arm.train for p in planned.arms if p.keeps)
    if facts.pinned == "auto" or not planned.arms or any(arm.status == WILL for arm in planned.arms):
        return planned, terms
    first = min(planned.arms, key=lambda arm: (arm.unit + arm.once + arm.refit).seconds)
    need = first.unit * 2 + first.once + first.refit
    terms.progress.say(f"--train {facts.pinned} needs more than the budget: some {duration(need.seconds)} from here")
    if facts.in_steps:
        longer = replace(terms.config, steps=need.steps)
    else:
        total = terms.clock.seconds()["total"] + need.seconds + terms.reserve
        longer = replace(terms.config, budget=max(terms.config.budget, MARGIN * total))
    terms = replace(terms, config=longer)
    return plan(replace(facts, left=_allowance(terms).left())), terms


def _frozen(ground: Ground, answer: Answer, terms: Terms) -> FrozenAnswer:
    groups = ground.material.groups[ground.material.learn] if ground.material.samples.groups is not None else None
    names = answer.names
    what = f"on depth{'s' if len(names) > 1 else ''} {names[0]}" + (f" to {names[-1]}" if len(names) > 2 else "")
    if len(names) == 2:
        what += f" and {names[1]}"
    seconds = terms.clock.seconds()["total"]
    figures = (answer.top1, answer.low, answer.high)
    return FrozenAnswer(answer.logits, answer.judged, ground.material.labels, groups, what, seconds, figures)


def _experienced(frozen: FrozenAnswer, place: str, planned: Plan) -> FrozenAnswer:
    """The frozen answer, and what the planned amounts gained on other pictures as far from the source."""
    n, trains = len(frozen.labels), {p.arm.train for p in planned.arms}
    elsewhere = {train: rules.gain_elsewhere(train, place, n, planned.epochs).value for train in trains}
    return replace(frozen, expected={train: gain for train, gain in elsewhere.items() if gain is not None})


def _hopeless(ground: Ground, frozen: FrozenAnswer, terms: Terms) -> str | None:
    """Why there is no race, or None."""
    if terms.config.train == "head":
        return "a new head was asked for"
    if ground.split.count == 0:
        return "no picture can be held out, so more training could not be judged"
    if terms.config.train != "auto" or terms.config.extra_layers:
        return None  # what was asked for is trained
    if why_in_torch(ground.backbone) is not None:
        why = f"{ground.backbone.name} runs in torch, and training more than a head starts from a graph"
        terms.progress.say(f"{why}: the new head stays")
        return why
    if (reason := nothing_to_win(frozen)) is not None:
        return reason  # before the plan: its measuring takes seconds
    if _allowance(terms).left() < LEAST_TIME:
        total = terms.clock.seconds()["total"]
        return f"after {total:.0f} s no time of {terms.config.budget:.0f} s is left to race"
    return None


def _allowance(terms: Terms) -> Allowance:
    config = terms.config
    if config.steps is not None:
        return Allowance(config.steps)
    # What the user pinned is trained, whatever it takes; the budget still bounds how many rates are compared.
    return Allowance(config.budget, terms.reserve, lambda: terms.clock.seconds()["total"])


def _run(planned: Plan, trainer: Trainer, workers: Spread, frozen: FrozenAnswer, terms: Terms) -> RaceResult:
    ground, progress = trainer.ground, terms.progress
    progress.start("race")

    unit = "s" if terms.config.steps is None else "steps"

    def tell(step: Step) -> None:
        top1 = "failed" if step.top1 is None else f"{100 * step.top1:.1f} %"
        terms.run.log("unit", arm=step.arm.key, repeat=step.repeat, fold=step.fold, top1=step.top1, left=step.left)
        progress.say(
            f"  {step.arm.key.replace('_', ' ')}: {top1} after fold {step.fold + 1}, {step.left:.0f} {unit} left"
        )

    ledger = Ledger(terms.run.folder / RACE, fingerprint(ground, trainer))
    options = RaceOptions(ledger, tell, workers.ahead, workers.at_once, trainer.keeps, trainer.longer)
    return race(planned, workers.runner, frozen, ground.split.folds, _allowance(terms), options)


def fingerprint(ground: Ground, trainer: Trainer) -> str:
    """Everything that the result of a unit depends on, as one hash."""
    from headstart.finetune.schedule import VERSION

    digest = hashlib.sha256()
    for i in ground.material.learn:
        digest.update(ground.material.embeddings.pixel_hashes[i])
    for array in (ground.material.labels, ground.split.folds):
        digest.update(np.ascontiguousarray(array, np.int64).tobytes())
    start = ground.start
    facts: list[Any] = [ground.backbone.key, ground.backbone.preprocessing.key, VERSION, ground.seed]
    facts += [
        start.depths,
        start.kind,
        start.penalty,
        [vars(v) for v in trainer.views],
        trainer.precision,
        trainer.epochs,
        trainer.similarity,
    ]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()


def _refitted(ground: Ground, trainer: Trainer, verdict: Verdict) -> Answer:
    """The winner, trained on every picture."""
    arm, version = verdict.arm, verdict.version
    if arm is None or version is None:
        raise ValueError("the verdict is to keep the new head")
    from headstart.head.layered import cooled

    common: dict[str, Any] = {
        "train": verdict.train, "backbone": ground.backbone, "logits": verdict.logits, "judged": verdict.judged,
        "top1": verdict.top1, "low": verdict.low, "high": verdict.high,
        "provenance": {"arm": arm.key, "epochs": version.epoch, "blend": version.blend},
    }  # fmt: skip
    if arm.train == "extra":
        return _layered_answer(ground, trainer, verdict, common)
    from headstart.backbone.graph_weights import graph_with
    from headstart.finetune.loop import logits_of

    if verdict.kept:
        kept = trainer.kept[arm.key]
        tail, trained = kept.training.tail, kept.training.tail.trained()
        common["provenance"] |= {"trained_on": len(kept.training.lesson.rows)}
    else:
        tail, course = trainer.refit(arm, version)
        trained = course.trained
    activations = None if trainer.elsewhere is not None else trainer.activations(tail.cut)

    def expected(rows: NDArray[np.int64]) -> NDArray[np.floating]:
        if activations is None:  # they are with the workers
            return again([ground.sources[row] for row in rows])
        return np.asarray(logits_of(tail, activations, rows) / verdict.temperature)

    def again(sources: Any) -> NDArray[np.floating]:
        return np.asarray(tail.whole(_pixels(sources, ground)) / verdict.temperature)

    return Answer(
        depths=ground.start.depths,
        head=cooled(trained.head, verdict.temperature),
        graph=lambda: graph_with(ground.backbone.graph(), trained.tensors),
        frozen=False,
        expected=expected,
        again=again,
        **common,
    )


def _layered_answer(ground: Ground, trainer: Trainer, verdict: Verdict, common: dict[str, Any]) -> Answer:
    from headstart.embedding.reference import fresh_matrix
    from headstart.head.layered import cooled

    assert verdict.arm is not None and verdict.version is not None  # noqa: S101
    trained, depths = trainer.refit_layers(verdict.arm, verdict.version)
    head, material = cooled(trained, verdict.temperature), ground.material
    return Answer(
        depths=depths,
        head=head,
        graph=ground.backbone.graph,
        frozen=True,
        expected=lambda rows: head.logits(material.embeddings.matrix(depths, material.learn[rows])),
        again=lambda sources: head.logits(fresh_matrix(sources, ground.backbone, depths)),
        **common,
    )


def _pixels(sources: Any, ground: Ground) -> NDArray[np.uint8]:
    from headstart.images.load import load_square

    return np.stack([load_square(source, ground.backbone.preprocessing).pixels for source in sources])
