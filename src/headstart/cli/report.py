"""headstart report: the page of a run, and the comparison of two."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import print_json

NAME = "report"


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a run."),
    compare: Path | None = typer.Option(
        None, metavar="RUN2", help="Compare with this run, on the pictures that both held out."
    ),
    open_it: bool = typer.Option(False, "--open", help="Show it in the browser."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Write the page of a finished run again (report.html); with --compare, also a page that compares two runs.

    Example: headstart report runs/birds --open
    """
    from headstart import api

    made = api.report(run, compare)
    path = Path(made["compare_page"] or made["page"])
    if as_json:
        print_json(made)
    else:
        typer.echo(made["compare"]["sentence"] if made["compare"] else made["sentence"])
        typer.echo(str(path))
    if open_it and not _shown(path):
        typer.echo(f"no browser could be started: open {path} yourself", err=True)
    return 0


def _shown(path: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
