"""headstart embed: pictures to part files of vectors, on this machine or on a Ray cluster."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, print_json

NAME = "embed"


def command(
    data: Path = typer.Argument(
        ..., metavar="DATA", help="Folder of classes, CSV or Parquet list (uri, label, group), or OUT: finish it."
    ),
    out: Path = typer.Option(..., "--out", help="Folder of the part files; the same call goes on where it stopped."),
    on: str = typer.Option("local", "--on", help="local, ray (starts or joins this machine's), ray://HOST:PORT."),
    backbone: str = typer.Option("auto", help="Pretrained network; see: headstart backbones."),
    device: str = typer.Option("auto", help="What the workers compute on: auto, cpu, cuda, mps."),
    rows: int | None = typer.Option(None, "--rows", help="Pictures per part file; by default 64 to 4096."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Embed every picture of DATA into part files (Parquet), each exactly once, whatever dies meanwhile.

    Example: headstart embed birds/ --out birds-embedded
    """
    from headstart import api

    with Console() as console:
        found = api.embed(data, out, on=on, backbone=backbone, device=device, rows=rows, progress=console)
    if as_json:
        print_json(found)
        return 0
    quarantined = f", {found['quarantined']} of them quarantined" if found["quarantined"] else ""
    bad = f"; {found['bad']} cannot be used{quarantined} (column error says why)" if found["bad"] else ""
    typer.echo(f"{found['ok']} pictures in {found['chunks']} parts in {out}{bad}")
    return 0
