"""headstart evaluate: how good a classifier is on labelled pictures it has not seen."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, percent, print_json

NAME = "evaluate"


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a run, or of a classifier."),
    data: Path = typer.Argument(
        ..., metavar="DATA", help="Labelled pictures; of train/ val/ test/ the test part is used."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Measure a classifier on labelled pictures: accuracy with its 95 % interval, per class and overall.

    Example: headstart evaluate runs/birds birds-of-this-year/
    """
    from headstart import api

    with Console() as console:
        judged = api.evaluate(run, data, progress=console)
    if as_json:
        print_json(judged)
        return 0
    typer.echo(
        f"{percent(judged['top1'])} right ({percent(judged['low'])} to {percent(judged['high'])}) "
        f"on {judged['n']} pictures; balanced over classes {percent(judged['balanced'])}; "
        f"log-loss {judged['nll']:.3f}; always the most frequent class: {percent(judged['baseline'])}"
    )
    width = max(len(c["class"]) for c in judged["per_class"])
    for c in judged["per_class"]:
        typer.echo(f"  {c['class']:<{width}}  {percent(c['recall']):>7} of {c['n']}")
    if judged["skipped"]:
        typer.echo(f"  {judged['skipped']} pictures could not be read and do not count")
    return 0
