"""headstart predict: classes of new pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from headstart.cli.console import Console, print_json

NAME = "predict"


def command(
    run: Path = typer.Argument(..., metavar="RUN", help="Folder of a run, or of a classifier."),
    pictures: list[Path] = typer.Argument(..., metavar="IMAGE|FOLDER...", help="Pictures, or folders of pictures."),
    top: int = typer.Option(1, min=1, help="How many classes to name per picture."),
    unsure: float = typer.Option(0.0, min=0.0, max=1.0, help="Say 'unsure' below this probability."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
    to_csv: Path | None = typer.Option(None, "--csv", help="Write the table to this file."),
) -> int:
    """Name the class of each picture. Exit code 3 when some could not be read.

    Example: headstart predict runs/birds new/ --top 3
    """
    from headstart import api

    with Console() as console:
        rows = [_row(p, unsure) for p in api.predict(run, pictures, top=top, progress=console)]
    if to_csv is not None:
        from headstart.run import write_file

        write_file(to_csv, _csv(rows, top).encode("utf-8", "backslashreplace"))
    if as_json:
        print_json({"predictions": rows})
    elif to_csv is None:
        for row in rows:
            typer.echo(_line(row, top))
    bad = sum(1 for row in rows if row["error"])
    if bad:
        typer.echo(f"headstart: {bad} of {len(rows)} pictures could not be read", err=True)
    return 3 if bad else 0


def _row(prediction: Any, unsure: float) -> dict[str, Any]:
    label = prediction.label
    if label is not None and prediction.probability < unsure:
        label = "unsure"
    return {
        "path": prediction.path,
        "class": label,
        "probability": prediction.probability,
        "top": [[name, p] for name, p in prediction.top],
        "error": prediction.error,
    }


def _line(row: dict[str, Any], top: int) -> str:
    if row["error"]:
        return f"{row['path']}\t-\t{row['error']}"
    ranked: Sequence[Any] = row["top"][1:top]
    rest = "".join(f"\t{name}\t{p:.3f}" for name, p in ranked)
    return f"{row['path']}\t{row['class']}\t{row['probability']:.3f}{rest}"


def _csv(rows: list[dict[str, Any]], top: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    ranks = [c for k in range(1, top + 1) for c in (f"class_{k}", f"probability_{k}")]
    writer.writerow(["path", "class", "probability", "error", *(ranks if top > 1 else [])])
    for row in rows:
        ranked = [v for pair in row["top"][:top] for v in pair] if top > 1 else []
        writer.writerow([row["path"], row["class"] or "", row["probability"] or "", row["error"] or "", *ranked])
    return text.getvalue()
