"""A backbone of two block groups on pictures of 32 pixels, and pictures for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.backbone.backbone import Backbone, Depth
from lessons import Maps, squares
from tiny import DIMS, PREPROCESSING, tiny_graph


@pytest.fixture
def tiny_backbone(tmp_path: Path) -> Any:
    graph = tmp_path / "graph.onnx"
    graph.write_bytes(tiny_graph())
    depths = tuple(Depth(name, dim) for name, dim in DIMS.items())
    cache = tmp_path / "cache"
    return SimpleNamespace(name="tiny", depths=depths, preprocessing=PREPROCESSING, cache=cache, graph=lambda: graph)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(7):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((40, 36), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def network(lite0: Backbone) -> Any:
    """The pretrained Lite0 in torch; nobody may change it."""
    return lite0.torch_module()


@pytest.fixture(scope="session")
def photo_maps(network: Any, lite0: Backbone, photos: Path) -> Maps:
    """15 photographs of 5 classes, taken in turn, in front of every cut."""
    return Maps(network, squares(photos, lite0, 5, 3)[0])
