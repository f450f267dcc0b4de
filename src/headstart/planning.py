"""Planning: what `fit` would try on these pictures, in which order and why, and how long each would take."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart import rules
from headstart.backbone.torch_only import why_in_torch
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.data.scan import scan
from headstart.heap import give_back
from headstart.howmuch.affordable import AmountCost, PlanFacts, epochs_in_time
from headstart.howmuch.allowance import Allowance
from headstart.howmuch.plan import plan
from headstart.howmuch.similarity import Similarity
from headstart.looking import first_look
from headstart.progress import Progress
from headstart.training import Trainer, flip_notes

if TYPE_CHECKING:
    from headstart.finetune.cost import Shapes

MEASURED = 16  # pictures
DEAR = ("norms", "all", "scratch")  # amounts that read pixels
DEARER = 2.3  # times the last three stages: 1.9 to 3.4 (three records of benchmarks/training_speed.py)


def plan_data(data: Path, config: FitConfig, progress: Progress, clock: Clock) -> dict[str, Any]:
    """Everything `fit` does before it trains more than heads; nothing is written but the cache.

    Raises DataError as `fit` does. Keys: size, similarity, frozen (the head that every candidate must beat), plan
    (None with `ended` when nothing can be judged), flips, lines (the plan in words), seconds.
    """
    with clock("scan"):
        progress.start("scan")
        samples = scan(data)
    seen = first_look(samples, config, progress, clock)
    ground = seen.ground
    counts = np.bincount(ground.material.labels, minlength=ground.n_classes)
    median = float(np.median(counts))
    chosen = ground.found.chosen
    told: dict[str, Any] = {
        "data": {"n": len(ground.material.learn), "classes": ground.n_classes},
        "size": {"place": rules.size_place(median), "images_per_class": median},
        "similarity": asdict(seen.similarity),
        "frozen": {"depths": list(chosen.names), "top1": chosen.top1, "low": chosen.low, "high": chosen.high},
        "plan": None,
        "flips": [],
        "lines": ["no picture can be held out, so more training could not be judged"],
    }
    if why_in_torch(ground.backbone) is not None and config.train == "auto" and not config.extra_layers:
        told["lines"] = [f"{ground.backbone.name} runs in torch: only a new head will be trained"]
    elif ground.split.count and config.train != "head":
        trainer = Trainer(ground, {}, progress.say, seen.similarity.place)
        with clock("plan"):
            progress.start("plan")
            steps, budget = config.steps, config.budget
            allowance = Allowance(steps) if steps else Allowance(budget, 0.0, lambda: clock.seconds()["total"])
            try:
                planned = plan(in_time(facts_for(trainer, seen.similarity, config, allowance)))
                told |= {"plan": planned.to_json(), "flips": flip_notes(trainer.flips), "lines": planned.lines()}
            except MemoryError as error:
                told["lines"] = [str(error)]
    return {**told, "seconds": clock.seconds()}


def facts_for(trainer: Trainer, similarity: Similarity, config: FitConfig, allowance: Allowance) -> PlanFacts:
    """What the plan is made from: size, similarity, and the measured cost of every amount of training."""
    ground, pinned = trainer.ground, "extra" if config.extra_layers and config.train == "auto" else config.train
    n, counts = len(ground.material.learn), np.bincount(ground.material.labels, minlength=ground.n_classes)
    layers = rules.extra_layers(n, ground.found.chosen.top1, config.extra_layers, pinned).value
    amounts = rules.amounts(pinned, len(ground.backbone.depths) - 1, config.budget).value
    costs = measured_costs(trainer, [a for a in amounts if a != "extra" or layers], layers, allowance)
    per_class, folds = float(np.median(counts)), ground.split.folds
    return PlanFacts(
        n=n,
        n_classes=ground.n_classes,
        images_per_class=per_class,
        size=rules.size_place(per_class),
        similarity=similarity.place,
        costs=costs,
        left=allowance.left(),
        epochs=trainer.epochs,
        folds=int(folds.max()) + 1,
        repeats=len(folds),
        batch=rules.batch(n).value,
        pinned=pinned,
        extra_layers=layers,
        in_steps=allowance.in_steps,
        promising=tuple(a for a in costs if rules.gain_elsewhere(a, similarity.place, n, trainer.epochs).value),
        gains_after=rules.epochs_to_gain(n).value,
        keeps=pinned == "auto" and config.on is None and not allowance.in_steps and rules.keeps_folds(n).value,
    )


def in_time(facts: PlanFacts) -> PlanFacts:
    """The facts with as many epochs as the time that is left allows; counted in steps, which must agree, with all."""
    if facts.in_steps:
        return facts
    return replace(facts, epochs=epochs_in_time(facts, rules.least_epochs(facts.n).value))


def measured_costs(
    trainer: Trainer, amounts: list[str], layers: tuple[int, ...], allowance: Allowance
) -> dict[str, AmountCost]:
    """Seconds per picture of every amount, cheapest first.

    What reads pixels is measured only where there is time to use it; its cost is else guessed from the last stages.
    """
    from headstart.finetune.cost import measure_training
    from headstart.finetune.prefixcost import measure_prefix
    from headstart.finetune.tail import cut_of
    from headstart.finetune.trainable import can_start_again

    ground = trainer.ground
    found: dict[str, AmountCost] = {}
    depths = ground.backbone.depths
    cuts = {a: cut_of(a, len(depths)) for a in amounts if a != "extra"}
    if "scratch" in cuts and not can_start_again(trainer.network):
        trainer.say(f"{ground.backbone.name} has parts whose random start is not known: not trained from scratch")
        del cuts["scratch"]
    if cuts:
        sources = ground.sources
        some = [sources[i] for i in np.linspace(0, len(sources) - 1, min(MEASURED, len(sources))).astype(int)]
        front = [max(c for c in cuts.values())] if max(cuts.values()) > 0 else []
        prefix = measure_prefix(some, ground.backbone, front, trainer.views)
        give_back()
        shapes = _shapes(trainer, sorted({c for c in cuts.values() if c}), allowance.in_steps)
    began = time.perf_counter()
    trainer.heads.of((0, int(np.unique(ground.split.folds[0][ground.split.folds[0] >= 0])[0])))
    setup = time.perf_counter() - began
    n = len(ground.material.learn)
    deepest = ""  # the amount with the deepest cut measured so far
    for amount in sorted(cuts, key=lambda a: (a in DEAR, a != "all", -cuts[a])):
        if amount == "norms" and "all" in found:  # as fast, and measuring it takes almost twice the memory
            trainer.precision[amount], found[amount] = trainer.precision["all"], found["all"]
            continue
        once = prefix.seconds(n, front if cuts[amount] else [0], len(trainer.views))
        if amount in DEAR and deepest and not allowance.in_steps:
            # what is faster for the last stages is faster for everything
            shapes = replace(shapes, precisions=(trainer.precision[deepest],))
            guess = AmountCost(
                DEARER * found[deepest].train_seconds, DEARER * found[deepest].judge_seconds, setup, once
            )
            if 2 * n * trainer.epochs * guess.train_seconds > allowance.left():  # one fold and the final training
                trainer.precision[amount], found[amount] = shapes.precisions[0], guess
                continue
        try:
            cost = measure_training(trainer.network, amount, ground.start.depths, shapes, ground.n_classes)
        except (MemoryError, RuntimeError):
            trainer.say(f"not enough memory to train {amount}")
            continue
        give_back()  # what the next, deeper amount takes would come on top of it
        trainer.precision[amount] = cost.precision
        found[amount] = AmountCost(cost.train, cost.judge, setup, once)
        deepest = amount if amount not in DEAR else deepest
    if "extra" in amounts:
        found["extra"] = _layers_cost(trainer, layers, setup)
    if cuts and not found:
        raise MemoryError("not enough memory to train anything but a head")
    return found


def _shapes(trainer: Trainer, cuts: list[int], in_steps: bool) -> Shapes:
    """What the measurement of training needs to know; counted in steps, the precision is not left to a measurement."""
    from headstart.finetune.cost import Shapes
    from headstart.finetune.cutcache import cut_shapes
    from headstart.finetune.precision import precisions

    backbone, possible = trainer.ground.backbone, precisions(trainer.device)
    maps = {c: s.map for c, s in cut_shapes(backbone, cuts).items()}
    dims = tuple(d.dim for d in backbone.depths)
    batch = rules.batch(len(trainer.ground.material.learn)).value
    return Shapes(
        backbone.preprocessing.side, maps, dims, trainer.device, possible[:1] if in_steps else possible, batch
    )


def _layers_cost(trainer: Trainer, layers: tuple[int, ...], setup: float) -> AmountCost:
    """Two epochs on 64 pictures."""
    from headstart.head.layers import Examples, LayerOptions, train_layers

    examples = trainer.examples()
    rows = np.arange(min(64, len(examples.labels)))
    some = Examples(examples.matrix[rows], examples.labels[rows], examples.n_classes, examples.factors, examples.dims)
    began = time.perf_counter()
    train_layers(some, LayerOptions(hidden=layers, epochs=2))
    seconds = (time.perf_counter() - began) / (2 * len(rows))
    return AmountCost(seconds, 0.1 * seconds, setup)
