from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from headstart.artefact import write_classifier
from tiny import CLASSES, tiny_artefact


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Class folders of 20 smooth pictures each, of several sizes, one a JPEG; the labels mean nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir()
        for i in range(20):
            small = Image.fromarray(rng.integers(0, 256, (5, 4 + i % 3, 3), dtype=np.uint8))
            small.resize((60 + 4 * i, 50)).save(folder / name / (f"{i:02}.jpg" if i == 3 else f"{i:02}.png"))
    return folder


@pytest.fixture
def run(tmp_path, pictures):
    """A finished run of the tiny classifier on `pictures`."""
    folder = tmp_path / "run"
    write_classifier(folder / "classifier", tiny_artefact())
    (folder / "result.json").write_text(json.dumps({"schema": 1, "call": {"data": str(pictures)}}))
    rows = [f"{c}/{i:02}.png,{c},{c},0.{40 + i},0.5\n" for c in CLASSES for i in range(15) if i != 3]
    header = "path,label,predicted,probability,probability_of_label\n"
    (folder / "predictions.csv").write_text(header + "".join(rows))
    return folder
