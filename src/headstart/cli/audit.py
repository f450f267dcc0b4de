"""headstart audit: what is wrong with the data, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, print_json

NAME = "audit"


def command(
    data: Path = typer.Argument(..., metavar="DATA", help="What you would give to headstart fit."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Look for unreadable pictures, duplicates, leaks between train and test, conflicts and series.

    Example: headstart audit birds/
    """
    from headstart import api

    with Console() as console:
        report = api.audit(data, progress=console)
    if as_json:
        print_json(report)
        return 0
    facts = report["data"]
    typer.echo(
        f"{facts['n']} pictures, {facts['classes']} classes, {facts['per_class_median']:g} a class (median); "
        f"{facts['skipped']} unreadable, {facts['duplicates']} duplicates"
    )
    if not report["findings"]:
        typer.echo("nothing found that stands in the way")
    for finding in report["findings"]:
        typer.echo(f"[{finding['severity']}] {finding['title']}")
        if finding["detail"]:
            typer.echo(f"    {finding['detail']}")
        if finding["advice"]:
            typer.echo(f"    {finding['advice']}")
        for item in finding["items"][:5]:
            typer.echo(f"    {item}")
        if len(finding["items"]) > 5:
            typer.echo(f"    ... {len(finding['items']) - 5} more (--json lists all)")
    return 0
