"""The story of `fit`, top to bottom: scan, embed, sort out, split, probe, finish, judge, write. No maths, no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headstart import document, findings, rules
from headstart.backbone.backbone import Backbone, open_backbone
from headstart.cache_folder import cache_folder
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.data.samples import Samples
from headstart.data.scan import scan
from headstart.data.split import Split, make_split
from headstart.embedding.embed import EmbedOptions, embed
from headstart.evidence import Evidence, gather
from headstart.finish import finish
from headstart.howmuch.decide import decide
from headstart.howmuch.probe import Probe, ProbeOptions, probe
from headstart.howmuch.unjudged import unjudged
from headstart.material import Material, sort_out
from headstart.progress import Progress, Silent
from headstart.run import RESULT, Run, open_run


def fit(data: Path, config: FitConfig, progress: Progress | None = None, clock: Clock | None = None) -> Run:
    """From a folder (or manifest) of labelled pictures to a run: a verified classifier and an honest result.json.

    Raises the children of HeadstartError; KeyboardInterrupt only while there is no classifier yet.
    """
    progress, clock = progress or Silent(), clock or Clock()

    # SCAN: which pictures there are, and of which class.
    with clock("scan"):
        progress.start("scan")
        samples = scan(data)
    run = open_run(config.out, config.when_exists)
    if config.when_exists == "resume" and run.finished:
        progress.say(f"{run.folder} is finished already; --overwrite trains it again")
        return run
    return train(samples, config, run, progress, clock)


def train(samples: Samples, config: FitConfig, run: Run, progress: Progress, clock: Clock) -> Run:
    """Everything after the pictures were found."""
    run.log("start", pictures=len(samples), classes=len(samples.classes), config=config.to_json())

    # EMBED: one pass of the frozen backbone, every depth, cached by content. Then bad, doubled and leaking
    # pictures are set aside.
    with clock("embed"):
        asked = rules.backbone(config.backbone)
        backbone = open_backbone(asked.value, cache_folder())
        material = look(samples, backbone, progress)
    run.write_csv("bad_images.csv", ("path", "reason"), material.bad_rows())
    run.log("embedded", computed=material.embeddings.facts.computed, cached=material.embeddings.facts.cached)

    # PROBE: linear heads at every depth, judged on folds that no group and no duplicate straddles.
    with clock("probe"):
        progress.start("probe")
        settings = (asked, rules.train(config.train), *fold_rules(material))
        split = make_split(
            material.labels, material.groups[material.learn], config.seed, settings[2].value, settings[3].value
        )
        found = heads(material, backbone, split)
    run.log("probed", chosen=list(found.chosen.names), top1=found.chosen.top1, seconds=dict(found.seconds))

    # FINISH: answer A. One file, proved on the user's pictures; from here on there is a classifier, whatever happens.
    decision = decide(found, backbone.name, settings[1])
    with clock("finish"):
        progress.start("finish")
        finished = finish(run, material, backbone, found, decision)
        (run.folder / RESULT).unlink(missing_ok=True)  # an older result is not about this classifier
    run.log("saved", verified=finished.verified)

    # JUDGE: series, what shuffled folds would claim, the test part (touched here, once), findings.
    evidence, interrupted = Evidence(), False
    try:
        with clock("judge"):
            progress.start("judge")
            evidence = gather(material, split, found, finished.temperature)
    except KeyboardInterrupt:
        interrupted = True
    said = findings.of_result(material, found, finished.temperature, evidence)
    told = document.Told(config, settings, material, found, finished, evidence, said, decision)
    seconds = clock.seconds()
    if seconds["total"] > config.budget:
        progress.say(f"the frozen pass and the head took {seconds['total']:.0f} s: no time of the budget is left")
    document.write(run, told, seconds, interrupted)
    run.log("done", seconds=seconds)
    return run


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


def look(samples: Samples, backbone: Backbone, progress: Progress) -> Material:
    """Embed every picture and sort out what may be learned from; also what `audit` does."""
    if backbone.exporting:
        progress.say(f"preparing {backbone.name} for this machine (once, some ten seconds)")
    progress.start("embed", len(samples))
    options = EmbedOptions(cache=cache_folder(), progress=lambda done, total: progress.update(done))
    embeddings = embed(samples.sources, backbone, options)
    for note in (*samples.notes, *embeddings.facts.notes):
        progress.say(note)
    return sort_out(samples, embeddings)
