"""Choosing: whether another of the installed backbones sees these pictures better, at a price the budget can pay.

A cross-validated head on each is better evidence than any transferability score, and one frozen pass is all it costs
(notes on LogME, LEEP, SFDA: How stable are transferability metrics evaluations?, arXiv 2204.01403).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone, open_backbone
from headstart.backbone.graph_file import graph_file
from headstart.backbone.sources import available, find_source
from headstart.backbone.torch_only import graph_of
from headstart.cache_folder import cache_folder
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.embedding.embed import EmbedOptions, embed, not_cached
from headstart.errors import HeadstartError
from headstart.evaluation.intervals import paired_bootstrap
from headstart.howmuch.probe import Probe, ProbeOptions, probe
from headstart.material import Material
from headstart.nearness import similarity_of
from headstart.profile import part
from headstart.progress import Progress
from headstart.training import Ground, Seen

SUBSET = 1000  # pictures: enough to tell backbones apart by 2 points
FEW = 32  # pictures by which a backbone's speed is measured
SHARE = 0.15  # of the time left that looking through one more backbone may take, its heads included
MOVE = 0.5  # of it that seeing everything with the better one may take
PREPARING = 3.0  # seconds that the first use of a packaged backbone takes
P_BETTER = 0.9  # as for any other way of spending more
# P(better) below which no larger backbone is tried: so it was for Lite1 in four of ten draws, by hand, and
# Lite2 reached P_BETTER in none of the four, in two of the other six
AHEAD = 0.7


@dataclass(frozen=True)
class Tried:
    """One more backbone: accuracy of its best head on `n` pictures against the first backbone's on the same folds."""

    name: str
    status: str  # run, not tried
    why: str
    n: int = 0
    top1: float | None = None
    first_top1: float | None = None
    p_better: float | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def other_backbones(
    seen: Seen, config: FitConfig, clock: Clock, progress: Progress
) -> tuple[Seen, tuple[Tried, ...], bool]:
    """What was seen, with the best of the installed backbones, when the choice is ours and there is time for it.

    Last: whether Ctrl-C ended the search; what was seen first stays then.
    """
    left = config.budget - clock.seconds()["total"]
    if (config.backbone, config.train) != ("auto", "auto") or config.steps is not None or left < 5.0:
        return seen, (), False
    try:
        with clock("backbones"):
            ground, tried = choose_backbone(seen.ground, left, progress)
            if ground is seen.ground:
                return seen, tried, False
            similarity = similarity_of(ground.material, ground.backbone, ground.found)
            return Seen(ground, similarity, seen.settings), tried, False
    except KeyboardInterrupt:
        return seen, (), True


def choose_backbone(ground: Ground, left: float, progress: Progress) -> tuple[Ground, tuple[Tried, ...]]:
    """`ground` on the best of the installed backbones within `left` seconds, and what was tried.

    Another backbone needs P(better) >= 0.9 on paired out-of-fold results: a tie goes to the faster one. They are tried
    from small to large, until one is not ahead: looking takes time from training.
    """
    began = time.perf_counter()
    tried: list[Tried] = []
    if ground.split.count == 0:
        return ground, ()
    rows = _subset(ground)
    first = ground.found if len(rows) == len(ground.material.learn) else None
    best = ground
    for facts in available():
        name = str(facts["name"])
        if name == ground.backbone.name or not facts["installed"]:
            continue
        if (behind := _behind(tried)) is not None:
            tried.append(Tried(name, "not tried", f"{behind} was not ahead, and this one is larger still"))
            continue
        started = time.perf_counter()
        room = SHARE * (left - (started - began))
        try:
            reason, backbone = _affordable(ground, name, rows, room - _heads_take(ground, rows, first))
            if backbone is None:
                tried.append(Tried(name, "not tried", reason))
                continue
            progress.start(f"look with {name}", len(rows))
            found = _probe(_seen_with(ground, backbone, rows, progress), ground, rows)
        except HeadstartError as error:  # it cannot be prepared here: the first answer stands
            tried.append(Tried(name, "not tried", str(error)))
            continue
        first = first or _probe([m[rows] for m in ground.material.matrices(ground.material.learn)], ground, rows)
        one = _compared(name, first, found, ground, rows, time.perf_counter() - started)
        everything = (one.seconds or 0.0) * len(ground.material.samples) / len(rows)
        sampled = len(rows) < len(ground.material.learn)
        if too_long := sampled and everything > MOVE * (left - (time.perf_counter() - began)):
            one = replace(one, why=f"{one.why}; every picture would take {everything:.0f} s")
        tried.append(one)
        progress.say(f"{name}: {100 * (one.top1 or 0):.1f} %, {one.why}")
        best_yet = one.top1 == max(t.top1 for t in tried if t.top1 is not None)
        if (one.p_better or 0) >= P_BETTER and best_yet and not too_long:
            best = Ground(ground.material, backbone, ground.split, found, ground.seed)
    return (ground if best is ground else _moved(ground, best, rows, progress)), tuple(tried)


def _behind(tried: list[Tried]) -> str | None:
    """The backbone that was tried last, if it was not ahead of the first one."""
    last = next((one for one in reversed(tried) if one.status == "run"), None)
    return last.name if last is not None and (last.p_better or 0.0) < AHEAD else None


def _subset(ground: Ground) -> NDArray[np.int64]:
    """At most 1,000 of the pictures to learn from, the same share of every class and fold."""
    labels, folds = ground.material.labels, ground.split.folds[0]
    n = len(labels)
    if n <= SUBSET:
        return np.arange(n)
    order = np.lexsort((np.random.default_rng(ground.seed).random(n), folds, labels))
    return np.sort(order[np.linspace(0, n - 1, SUBSET).astype(int)])


def _heads_take(ground: Ground, rows: NDArray[np.int64], first: Probe | None) -> float:
    """Seconds for its heads on `rows`, as the first backbone's took; `first`: those, None when they come on top."""
    share = len(rows) / len(ground.material.learn)
    return sum(ground.found.seconds.values()) * share * (1 if first is not None else 2)


def _affordable(ground: Ground, name: str, rows: NDArray[np.int64], room: float) -> tuple[str, Backbone | None]:
    """The opened backbone when seeing `rows` with it fits into `room` seconds."""
    missing = not graph_file(find_source(name), cache_folder()).is_whole()
    if missing and room < PREPARING:
        return f"preparing it takes {PREPARING:.0f} s, {max(room, 0):.0f} s may be used", None
    if room < 2.0:
        return f"{max(room, 0):.0f} s may be used for it", None
    with part("prepare"):
        backbone = open_backbone(name, cache_folder())
        if graph_of(backbone) is None:
            return "it cannot be exported, and torch is too slow to try it unasked", None
    began = time.perf_counter()
    sources = [ground.material.samples.sources[i] for i in ground.material.learn[rows]]
    new = not_cached(sources, backbone, cache_folder())
    facts = embed([sources[i] for i in new[:FEW]], backbone, EmbedOptions(cache=cache_folder())).facts
    rate = facts.engine.images_per_second if facts.engine and facts.engine.images_per_second else None
    needed = max(len(new) - FEW, 0) / rate if rate else 0.0  # everything cached: nothing to wait for
    if needed > room - (time.perf_counter() - began):
        return f"looking through {len(new)} pictures would take {needed:.0f} s, {room:.0f} s may be used", None
    return "", backbone


def _seen_with(
    ground: Ground, backbone: Backbone, rows: NDArray[np.int64], progress: Progress
) -> list[NDArray[np.float16]]:
    sources = [ground.material.samples.sources[i] for i in ground.material.learn[rows]]
    options = EmbedOptions(cache=cache_folder(), progress=lambda done, total: progress.update(done))
    return list(embed(sources, backbone, options).vectors)


@part("probe")
def _probe(matrices: list[NDArray[np.float16]], ground: Ground, rows: NDArray[np.int64]) -> Probe:
    material = ground.material
    names = [d.name for d in ground.backbone.depths]
    groups = material.groups[material.learn][rows] if material.samples.groups is not None else None
    options = ProbeOptions(ground.seed, groups)
    return probe(matrices, names, material.labels[rows], ground.n_classes, ground.split.folds[:, rows], options)


def _compared(name: str, first: Probe, found: Probe, ground: Ground, rows: NDArray[np.int64], seconds: float) -> Tried:
    both = first.judged & found.judged
    labels = ground.material.labels[rows][both]
    right = [p.logits[both].argmax(axis=1) == labels for p in (found, first)]
    groups = ground.material.groups[ground.material.learn][rows][both]
    compared = paired_bootstrap(right[0], right[1], groups, ground.seed)
    better = compared.p_better >= P_BETTER
    why = f"{100 * compared.difference:+.1f} points against {ground.backbone.name}, P(better) {compared.p_better:.2f}"
    why += "" if better else ": the faster one stays"
    return Tried(
        name, "run", why, len(rows), float(right[0].mean()), float(right[1].mean()), compared.p_better, seconds
    )


def _moved(ground: Ground, best: Ground, rows: NDArray[np.int64], progress: Progress) -> Ground:
    """Everything seen with the better backbone; pictures, groups and folds stay what they are."""
    material: Material = ground.material
    progress.start(f"embed with {best.backbone.name}", len(material.samples))
    options = EmbedOptions(cache=cache_folder(), progress=lambda done, total: progress.update(done))
    seen = embed(material.samples.sources, best.backbone, options)
    material = replace(material, embeddings=seen)
    everything = np.arange(len(material.learn))
    ground = Ground(material, best.backbone, ground.split, best.found, ground.seed)
    if len(rows) == len(everything):
        return ground
    return replace(ground, found=_probe(material.matrices(material.learn), ground, everything))
