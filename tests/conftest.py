"""Fixtures that many tests share: a cache of their own, the exported Lite0 once, small real pictures. No network."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as when training: torch's threads must not spin for each other

from headstart.backbone.backbone import Backbone, open_backbone


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of this test session; the user's own cache is never touched."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder))
        patch.delenv("HEADSTART_CACHE_LIMIT", raising=False)
        yield folder


@pytest.fixture(scope="session")
def lite0(cache: Path) -> Backbone:
    """EfficientNet-Lite0 with its graph exported (once per session)."""
    backbone = open_backbone("efficientnet_lite0", cache)
    backbone.graph()
    return backbone


@pytest.fixture(scope="session")
def samples_folder() -> Path:
    """Photographs that scikit-image brings along."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data"


@pytest.fixture(scope="session")
def photos(samples_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of real photographs: 5 classes of 10 seeded crops, 120 to 200 pixels wide, JPEG and PNG."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "retina.jpg", "rocket.jpg"):
        with Image.open(samples_folder / name) as file:
            whole = file.convert("RGB")
        place = folder / Path(name).stem
        place.mkdir()
        for i in range(10):
            width, height = (int(x) for x in rng.integers(120, 200, 2))
            left, top = int(rng.integers(whole.width - width)), int(rng.integers(whole.height - height))
            crop = whole.crop((left, top, left + width, top + height))
            crop.save(place / (f"{i:02}.jpg" if i % 3 else f"{i:02}.png"))
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of scikit-learn's handwritten digits: 10 classes of 12, enlarged to 32 x 32 PNG."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("digits")
    found = load_digits()
    for digit in range(10):
        place = folder / str(digit)
        place.mkdir()
        for i, pixels in enumerate(found.images[found.target == digit][:12]):
            small = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
            small.resize((32, 32), Image.Resampling.BICUBIC).save(place / f"{i:02}.png")
    return folder
