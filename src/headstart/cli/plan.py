"""headstart plan: what fit would try, in which order and why."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, percent, print_json

NAME = "plan"


def command(
    context: typer.Context,
    data: Path = typer.Argument(..., metavar="DATA", help="As for fit."),
    budget: str = typer.Option("5m", help="The budget to plan for (30s, 5m, 2h)."),
    train: str = typer.Option("auto", help="As for fit: auto, or the one amount to plan."),
    backbone: str = typer.Option("auto", help="Pretrained network; see: headstart backbones."),
    seed: int = typer.Option(0, help="As for fit."),
    images: float | None = typer.Option(None, help="Foresee a set of so many pictures like these, such as 1e8."),
    workers: int = typer.Option(1, help="With --images: workers like one of this machine."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Say what fit would try, in which order and why, and how long each would take. Trains only heads.

    With --images: how long and how many bytes a larger set takes on several workers, measured here in ten seconds.

    Example: headstart plan birds/ --budget 10m
    """
    from headstart import api
    from headstart.clock import Clock

    if images is not None:
        with Console() as console:
            foreseen = api.plan_scale(data, images, workers, backbone=backbone, progress=console)
        if as_json:
            print_json(foreseen)
        else:
            typer.echo("\n".join(foreseen["lines"]))
        return 0
    clock = Clock(context.obj)
    with Console() as console:
        found = api.plan(data, budget=budget, train=train, backbone=backbone, seed=seed, progress=console, clock=clock)
    if as_json:
        print_json(found)
        return 0
    frozen = found["frozen"]
    depths = ", ".join(frozen["depths"])
    typer.echo(found["similarity"]["why"])
    if frozen["top1"] is not None:
        typer.echo(f"A new head ({depths}) reaches {percent(frozen['top1'])} out of fold; what it has to be beaten by:")
    typer.echo("\n".join([*found["lines"], *found["flips"]]))
    return 0
