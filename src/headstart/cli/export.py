"""headstart export: the classifier as files that need no headstart, compared with it on your own pictures first."""

from __future__ import annotations

from pathlib import Path

import typer

from headstart.cli.console import Console, percent, print_json

NAME = "export"


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a run, or of a classifier."),
    to: str = typer.Option("onnx", help="onnx, int8 (smaller and faster, kept if it is as good) or openvino."),
    out: Path | None = typer.Option(None, help="Folder to write (RUN/export-onnx and so on when not given)."),
    data: Path | None = typer.Option(
        None, metavar="PICTURES", help="Pictures to compare on (those the run learned from when not given)."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an exported folder that exists."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> int:
    """Write a model, its labels and a short script to use them; no file is left when their answers differ.

    Example: headstart export runs/birds --to onnx
    """
    from headstart import api

    with Console() as console:
        done = api.export(run, to=to, out=out, data=data, overwrite=overwrite, progress=console)
    if as_json:
        print_json(done)
        return 0
    sizes = ", ".join(f"{name} ({size / 1e6:.1f} MB)" if size > 1e5 else name for name, size in done["files"].items())
    typer.echo(f"Exported to {done['folder']}: {sizes}")
    if done["says"]:
        typer.echo(f"  {done['says']}")
    engines = " and ".join(done["largest_difference"])
    largest = max(done["largest_difference"].values())
    typer.echo(
        f"  same answers by {engines} on {done['pictures']} of your pictures, in batches of "
        f"{', '.join(map(str, done['batches']))}; probabilities differ by at most {largest:.1g}"
    )
    for way in done["resizing"]:
        typer.echo(f"  {percent(way['agreement']):>7} of {way['n']} keep their class with {way['how']}")
    typer.echo(f"  try: python {Path(done['folder']) / 'predict.py'} PICTURE")
    return 0
