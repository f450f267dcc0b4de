"""Ask before anything is downloaded: on a terminal only, and only for a network that can be fetched."""

from __future__ import annotations

import sys
from typing import Any

import typer


def offer(backbone: str, as_json: bool) -> None:
    """Download `backbone` when it is not here and the person at the terminal says yes; else do nothing.

    Without a terminal, and after a no, the command goes on to its own error.
    """
    if backbone == "auto" or as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    from headstart import api

    found = api.backbone_to_fetch(backbone)
    if found is None or not _yes(found):
        return
    api.download_backbone(found["name"])


def size_and_host(found: dict[str, Any]) -> str:
    """`about 47 MB from huggingface.co`."""
    return f"about {max(1, round(found['bytes'] / 1e6))} MB from {found['host']}"


def _yes(found: dict[str, Any]) -> bool:
    question = f"{found['name']} is not on this machine: download {size_and_host(found)} now?"
    try:
        return typer.confirm(question, default=False)
    except typer.Abort as end:
        typer.echo()
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return False  # the end of the input
