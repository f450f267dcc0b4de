"""headstart cache: what is kept between runs, where, and how large it is."""

from __future__ import annotations

import typer

from headstart.cli.console import print_json

NAME = "cache"


def command(
    clear: bool = typer.Option(False, "--clear", help="Delete everything in it; the next run computes it again."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Show the cache of graphs and embeddings (HEADSTART_CACHE moves it), or clear it."""
    from headstart import api

    facts = api.cache(clear=clear)
    if as_json:
        print_json(facts)
        return 0
    typer.echo(
        f"{facts['folder']}: {facts['total'] / 1e6:.1f} MB (embeddings {facts['embeddings'] / 1e6:.1f} of at most "
        f"{facts['limit'] / 1e6:.0f}, graphs {facts['graphs'] / 1e6:.1f}, weights {facts['weights'] / 1e6:.1f})"
    )
    if clear:
        typer.echo(f"cleared ({facts['freed'] / 1e6:.1f} MB freed)")
    return 0
