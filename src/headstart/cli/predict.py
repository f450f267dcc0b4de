"""headstart predict: classes of new pictures."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console

NAME = "predict"


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a run, or of a classifier."),
    pictures: list[str] = typer.Argument(
        ...,
        metavar="PICTURES...",
        help='Files, folders, quoted patterns as "new/**/*.jpg", or - for a list on stdin (lines, or NUL separated).',
    ),
    top: int = typer.Option(1, min=1, help="How many classes to name per picture."),
    unsure: float = typer.Option(0.0, min=0.0, max=1.0, help="Say 'unsure' below this probability."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
    to_csv: Path | None = typer.Option(None, "--csv", help="Write the table to this file."),
) -> int:
    """Name the class of each picture. Exit code 3 when some could not be read.

    Example: headstart predict runs/birds new/ --top 3
    """
    from headstart import api
    from headstart.cli.answers import UNSURE, print_lines, print_predictions, row_of, written
    from headstart.cli.named_pictures import named_pictures
    from headstart.errors import UsageError

    classifier = api.load(run)
    if unsure and UNSURE in classifier.classes:
        raise UsageError(f"--unsure cannot be used: the classifier has a class named {UNSURE!r}")
    with Console() as console:
        found = api.predict_each(classifier, named_pictures(pictures), top=top, progress=console)
        told = written((row_of(one, unsure) for one in found), to_csv, top if top > 1 or unsure else 0)
        if as_json:
            bad, count = print_predictions(told)
        else:
            bad, count = print_lines(told, top, bool(unsure), silent=to_csv is not None)
    if bad:
        typer.echo(f"headstart: {bad} of {count} picture{'s' * (count != 1)} could not be read", err=True)
    return 3 if bad else 0
