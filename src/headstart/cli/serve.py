"""headstart serve: a classifier over HTTP, with a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

NAME = "serve"


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a run, or of a classifier."),
    port: int = typer.Option(8000, help="Port to listen on; 0 finds a free one."),
    host: str = typer.Option(
        "127.0.0.1", help="Address to listen on; any other than this computer's own needs --token."
    ),
    token: str | None = typer.Option(None, envvar="HEADSTART_TOKEN", help="What every request to the API must carry."),
    allow_host: list[str] | None = typer.Option(None, help="Another name by which the server is reached."),
    as_json: bool = typer.Option(False, "--json", help="Print one line of JSON with the URL on stdout."),
) -> int:
    """Answer over HTTP on this computer: a page for people, an API for programs. Ctrl-C ends it.

    Example: headstart serve runs/birds --port 0
    """
    from headstart import api
    from headstart.leaving import leave_if_stuck

    def started(address: Any) -> None:
        if as_json:
            typer.echo(json.dumps({"url": address.url, "host": address.host, "port": address.port}))
            return
        typer.echo(f"{run} answers at {address.url}  (Ctrl-C ends it)")
        if not address.loopback:
            typer.echo(
                "headstart: other machines can reach this; requests are not encrypted, the token neither", err=True
            )

    api.serve(run, host=host, port=port, token=token, allow_hosts=tuple(allow_host or ()), started=started)
    if not as_json:
        typer.echo("headstart: ended", err=True)
    leave_if_stuck()
    return 0
