from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from headstart.artefact import write_classifier
from tiny import tiny_artefact


@pytest.fixture(scope="session")
def artefact():
    return tiny_artefact()


@pytest.fixture(scope="session")
def run(tmp_path_factory, artefact):
    """Folder of a run with a classifier in it."""
    folder = tmp_path_factory.mktemp("runs") / "birds"
    write_classifier(folder / "classifier", artefact)
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty pictures of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    paths = []
    for i in range(20):
        small = rng.integers(0, 256, (5, 4 + i % 3, 3), dtype=np.uint8)
        paths.append(folder / f"{i:02d}.png")
        Image.fromarray(small).resize((60 + 4 * i, 50)).save(paths[-1])
    return paths
