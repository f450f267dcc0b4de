"""headstart demo: the main job on a real data set."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, print_json

NAME = "demo"


def command(
    context: typer.Context,
    out: Path = typer.Option(Path("runs/solar-cells"), help="Folder of the run."),
    as_json: bool = typer.Option(False, "--json", help="Print result.json on stdout."),
) -> int:
    """Tell defective solar cells from good ones: 2,624 pictures of the package elpv-dataset (CC-BY-NC-SA-4.0)."""
    from headstart import api
    from headstart.clock import Clock
    from headstart.reporting.summary import summary_lines

    with Console() as console:
        run = api.demo(out, progress=console, clock=Clock(context.obj))
    if as_json:
        print_json(run.result())
        return 0
    typer.echo("\n".join(summary_lines(run.result(), str(run.folder))))
    typer.echo("\nNow your own pictures, one sub-folder per class:  headstart fit YOUR_FOLDER")
    return 0
