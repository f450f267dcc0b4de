"""headstart fit: from a folder of pictures to a classifier."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, print_json
from headstart.cli.profile import profile_lines

NAME = "fit"


def command(
    context: typer.Context,
    data: Path = typer.Argument(
        ...,
        metavar="DATA",
        help="A folder with one sub-folder per class, train/ val/ test/, a CSV, or what embed made.",
    ),
    out: Path | None = typer.Option(None, help="Folder of the run (runs/ and the name of DATA when not given)."),
    budget: str = typer.Option("5m", help="Time for everything (30s, 5m, 2h); a new head is always trained."),
    train: str = typer.Option("auto", help="How much: auto, or head, extra, norms, last-1, last-2, ..., all, scratch."),
    extra_layers: str | None = typer.Option(None, help="Layers before the head, on the frozen network, as 256,64."),
    backbone: str = typer.Option("auto", help="Pretrained network; see: headstart backbones."),
    on: str | None = typer.Option(None, "--on", help="Who embeds: local, ray, ray://HOST:PORT (worker processes)."),
    seed: int = typer.Option(0, help="The one number behind every random choice."),
    resume: bool = typer.Option(False, "--resume", help="Finish a run that was stopped; keep a finished one."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a run that exists."),
    profile: bool = typer.Option(False, "--profile", help="Say where the time went; RUN/profile.json has it too."),
    as_json: bool = typer.Option(False, "--json", help="Print result.json on stdout."),
) -> int:
    """Train a classifier on your pictures and say honestly how good it is.

    Example: headstart fit birds/
    """
    from headstart import api
    from headstart.cli.fetching import offer
    from headstart.clock import Clock
    from headstart.errors import UsageError
    from headstart.reporting.summary import summary_lines

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: choose one")
    offer(backbone, as_json)
    when_exists = "resume" if resume else "overwrite" if overwrite else "refuse"
    with Console() as console:
        run = api.train(
            data,
            out,
            budget=budget,
            train=train,
            backbone=backbone,
            extra_layers=extra_layers,
            seed=seed,
            when_exists=when_exists,
            profile=profile,
            on=on,
            progress=console,
            clock=Clock(context.obj),
        )
    result = run.result()
    if as_json:
        print_json(result)
    else:
        typer.echo("\n".join(summary_lines(result, str(run.folder))))
    if profile:
        typer.echo("\n".join(["", *profile_lines(run.profile())]), err=as_json)
    return 0
