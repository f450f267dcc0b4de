"""The demo's data: solar cells in electroluminescence light, from the package elpv-dataset (CC-BY-NC-SA-4.0).

Source: Deitsch et al., Automatic classification of defective photovoltaic module cells, Solar Energy 2019.
"""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from headstart.errors import MachineError

MODULE = 60  # cells per module, by assumption: the package does not say where one module ends; 45 groups result


def find_cells() -> Path:
    """Folder with labels.csv and images/; MachineError when the package is not installed."""
    spec = find_spec("elpv_dataset")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "data" / "labels.csv").is_file():
            return Path(place) / "data"
    raise MachineError(
        "the demo's pictures are not installed: pip install 'headstart[demo]' "
        "(elpv-dataset, CC-BY-NC-SA-4.0: for non-commercial use)"
    )


def manifest() -> str:
    """CSV text with path, label, group: defective where the probability of a defect is above one half.

    The package names the cell type but not the module, so a group is a run of one cell type in file order, cut into
    modules of 60 cells: 45 groups for the 44 modules.
    """
    root = find_cells()
    rows = [line.split() for line in (root / "labels.csv").read_text("utf-8").splitlines() if line.strip()]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "label", "group"])
    for run, (kind, cells) in enumerate(groupby(rows, key=lambda row: row[2])):
        for k, (name, probability, _) in enumerate(cells):
            label = "defective" if float(probability) > 0.5 else "functional"
            writer.writerow([root / name, label, f"{run}-{kind}-{k // MODULE}"])
    return text.getvalue()
