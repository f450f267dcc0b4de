"""The story of `fit`, top to bottom: scan, look, save a first answer, race for more, judge. No maths, no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headstart import document, findings, rules
from headstart.choosing import other_backbones
from headstart.clock import Clock
from headstart.config import FitConfig
from headstart.data.samples import Samples
from headstart.data.scan import scan
from headstart.embedding.embed import Embeddings
from headstart.evidence import judged
from headstart.finish import finish_takes, save_head, save_raced
from headstart.looking import check, first_look
from headstart.progress import Progress, Silent
from headstart.racing import INTERRUPTED, Terms, race_for_more
from headstart.run import PROFILE, Run, open_run
from headstart.showing import Showing, show, write_pages


def fit(data: Path, config: FitConfig, progress: Progress | None = None, clock: Clock | None = None) -> Run:
    """From a folder (or manifest) of labelled pictures to a run: a verified classifier and an honest result.json.

    Raises the children of HeadstartError; KeyboardInterrupt only while there is no classifier yet.
    """
    progress, clock = progress or Silent(), clock or Clock()

    check(config)

    # PART FILES: pictures that workers embed, or that are embedded already, come back to `train` (extra [scale]).
    from headstart.scaling.vectors import is_embedded

    if config.on is not None or is_embedded(data):
        from headstart.scaled import fit_scaled

        return fit_scaled(data, replace(config, data=data.resolve()), progress, clock)

    # SCAN: which pictures there are, and of which class.
    with clock("scan"):
        progress.start("scan")
        samples = scan(data)
    run = open_run(config.out, config.when_exists)
    if config.when_exists == "resume" and run.finished:
        progress.say(f"{run.folder} is finished already; --overwrite trains it again")
        return run
    return train(samples, replace(config, data=data.resolve()), run, progress, clock)


def train(
    samples: Samples,
    config: FitConfig,
    run: Run,
    progress: Progress,
    clock: Clock,
    embedded: Embeddings | None = None,
) -> Run:
    """Everything after the pictures were found; `embedded` where they are vectors already."""
    run.log("start", pictures=len(samples), classes=len(samples.classes), config=config.to_json())

    # EMBED: one pass of the frozen backbone, every depth, cached by content. Then bad, doubled and leaking
    # pictures are set aside. PROBE: linear heads at every depth, judged on folds that no group and no duplicate
    # straddles.
    seen = first_look(samples, config, progress, clock, embedded)
    ground, found = seen.ground, seen.ground.found
    run.write_csv("bad_images.csv", ("path", "reason"), ground.material.bad_rows())
    run.log("probed", chosen=list(found.chosen.names), top1=found.chosen.top1, seconds=dict(found.seconds))

    # FINISH: answer A. One file, proved on the user's pictures; from here on there is a classifier, whatever happens.
    saved, first_answer = save_head(run, seen, clock, progress), clock.seconds()["total"]
    run.forget_older()

    # BACKBONES: would another installed network see these pictures better? Then its head is answer A.
    seen, others, interrupted = other_backbones(seen, config, clock, progress)
    if seen.ground is not ground:
        ground, saved = seen.ground, save_head(run, seen, clock, progress)

    # RACE: is more training better? Candidates by size and similarity, on held-out pictures, within the budget.
    terms = Terms(
        config, run, clock, progress, reserve=finish_takes(ground, clock) + rules.kept_for_showing(config.budget)
    )
    raced = INTERRUPTED if interrupted else race_for_more(ground, seen.similarity, saved.answer, terms)
    saved, raced = save_raced(run, seen, saved, raced, clock)
    run.log("raced", ended=raced.ended, train=saved.decision["train"])

    # JUDGE: series, what shuffled folds would claim, the test part (touched here, once).
    evidence, interrupted = judged(run, ground, saved, clock, raced.interrupted)

    # SHOW: what the pictures themselves say, where the classifier looked in them. WRITE: figures, then the page.
    shown = show(run, ground, saved, clock, Showing(config, first_answer, interrupted))
    with clock("write"):
        said = findings.of_result(ground.material, saved.answer, saved.finished.temperature, evidence, shown.inspected)
        told = document.Told(config, seen, saved, evidence, said, raced, others, shown)
        document.write(run, told, clock.seconds())
        write_pages(run, progress)
        run.forget("race")
    run.log("done", seconds=clock.seconds())
    if config.profile:
        run.write_json(PROFILE, clock.profile().to_json())
    return run
