"""Looking: embed, sort out, split, probe: everything that is known before more than a head is trained."""

from __future__ import annotations

import time

import numpy as np

from headstart import rules
from headstart.backbone.backbone import Backbone, open_backbone
from headstart.backbone.sources import find_source
from headstart.backbone.torch_only import refuse_run, remembered, says, why_in_torch
from headstart.cache_folder import cache_folder
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.data.samples import Samples
from headstart.data.split import Split, make_split
from headstart.embedding.embed import Embeddings, EmbedOptions, embed
from headstart.errors import UsageError
from headstart.howmuch.probe import Probe, ProbeOptions, probe
from headstart.howmuch.unjudged import unjudged
from headstart.material import Material, sort_out
from headstart.nearness import similarity_of
from headstart.profile import part
from headstart.progress import Progress
from headstart.training import Ground, Seen

KNOWN_AFTER = 1.5  # seconds of looking after which its rate is known


def check(config: FitConfig) -> None:
    """Refuse what the asked backbone does not have, before any work. UsageError."""
    asked = rules.backbone(config.backbone).value
    refuse_run(asked)
    source = find_source(asked, cache_folder())
    _check_torch(config, source.name, remembered(source, cache_folder()))
    stages = len(source.depth_names) - 1  # the last depth is the final layer, which every amount trains
    if config.train.startswith("last-") and int(config.train.removeprefix("last-")) > stages:
        raise UsageError(
            f"--train {config.train}: {source.name} has {stages} stages, so last-1 to last-{stages}, or all"
        )


def _check_torch(config: FitConfig, name: str, why: str | None) -> None:
    """Refuse to train inside a network that runs in torch (`why`; None: it does not). UsageError."""
    if why is not None and config.train not in ("auto", "head", "extra"):
        raise UsageError(
            f"--train {config.train}: {name} cannot be exported ({why}), and training more than a head or extra layers "
            "starts from a graph: use --train head"
        )


def first_look(
    samples: Samples, config: FitConfig, progress: Progress, clock: Clock, embedded: Embeddings | None = None
) -> Seen:
    """Embed, sort out, split, probe, and how near the pictures are to what the backbone has seen.

    `embedded`: the samples' own, where workers have embedded them with the backbone that `config` names.
    """
    with clock("embed"):
        check(config)
        asked = rules.backbone(config.backbone) if embedded is None else rules.embedded_with(config.backbone)
        with part("prepare"):
            backbone = open_backbone(asked.value, cache_folder())
        left = config.budget - clock.seconds()["total"]
        material = look(samples, backbone, progress, left) if embedded is None else sort_out(samples, embedded)
        _check_torch(config, backbone.name, why_in_torch(backbone))
    with clock("probe"):
        progress.start("probe")
        settings = (asked, rules.train(config.train), *fold_rules(material))
        groups = material.groups[material.learn]
        split = make_split(material.labels, groups, config.seed, settings[2].value, settings[3].value)
        found = heads(material, backbone, split)
    with clock("similarity"):
        similarity = similarity_of(material, backbone, found)
    return Seen(Ground(material, backbone, split, found, config.seed), similarity, settings)


def fold_rules(material: Material) -> tuple[rules.Rule, rules.Rule]:
    """How many folds, how often."""
    return rules.folds(int(np.bincount(material.labels).max())), rules.repeats(len(material.learn))


def heads(material: Material, backbone: Backbone, split: Split) -> Probe:
    """The probe on the pictures to learn from; without anything to hold out, a head and no claim."""
    matrices, names = material.matrices(material.learn), [d.name for d in backbone.depths]
    n_classes = len(material.samples.classes)
    if split.count == 0:
        return unjudged(matrices, names, material.labels, n_classes)
    groups = material.groups[material.learn] if material.samples.groups is not None else None
    return probe(matrices, names, material.labels, n_classes, split.folds, ProbeOptions(split.seed, groups))


def look(samples: Samples, backbone: Backbone, progress: Progress, left: float = float("inf")) -> Material:
    """Embed every picture and sort out what may be learned from; also what `audit` does.

    Says early when this alone will take more than the `left` seconds of a budget.
    """
    if told := why_in_torch(backbone):
        progress.say(says(backbone.name, told))
    elif backbone.exporting:
        progress.say(f"preparing {backbone.name} for this machine, once")
    progress.start("embed", len(samples))
    options = EmbedOptions(cache=cache_folder(), progress=_Forecast(progress, left))
    embeddings = embed(samples.sources, backbone, options)
    if told is None and (why := why_in_torch(backbone)) is not None:  # found out on the way
        progress.say(says(backbone.name, why))
    for note in (*samples.notes, *embeddings.facts.notes):
        progress.say(note)
    with part("sort"):
        return sort_out(samples, embeddings)


class _Forecast:
    """Passes counts on; once the rate is known it says whether the pass will end within `left` seconds."""

    def __init__(self, progress: Progress, left: float) -> None:
        self._progress, self._left = progress, left
        self._began = time.perf_counter()
        self._first: tuple[float, int] | None = None
        self._told = False

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(done)
        now = time.perf_counter()
        since, before = self._first = self._first or (now, done)
        if self._told or now - since < KNOWN_AFTER or done == before:
            return
        self._told = True
        seconds = now - self._began + (total - done) * (now - since) / (done - before)
        if seconds > self._left:
            self._progress.say(
                f"looking at {total} pictures takes some {seconds:.0f} s, more than the {max(self._left, 0):.0f} s "
                "that are left of the budget: a new head is trained, nothing is raced"
            )
