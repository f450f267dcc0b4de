"""The usual embedder: places of any kind, a picture alone when it is not finite, the spec's backbone and no other."""

from __future__ import annotations

import dataclasses

import fsspec
import numpy as np
import pytest
from PIL import Image

from fake_embedders import fake_spec
from headstart.errors import MachineError
from headstart.scaling import embedder
from headstart.scaling.embedder import NOT_FINITE, EngineEmbedder
from headstart.scaling.manifest import write_manifest

SIDE = 16


@dataclasses.dataclass(frozen=True)
class TinyBackbone:
    """What EngineEmbedder asks of a backbone."""

    depths: tuple
    preprocessing: object


class Engine:
    """Means of the channels; NaN for a batch that holds a white picture, unless it is alone and `heals`."""

    name, device, precision, side, batch = "tiny", "cpu", "fp32", SIDE, 4

    def __init__(self, heals):
        self.heals, self.sizes = heals, []

    def run(self, batch):
        self.sizes.append(len(batch))
        means = batch.mean((1, 2)).astype(np.float32)
        if (means > 250).all(1).any() and not (self.heals and len(batch) == 1):
            means[:] = np.nan
        return {"block0": means, "last": np.pad(means, ((0, 0), (0, 2))), "source_logits": means}

    def stream(self, batches):
        for tag, pixels in batches:
            yield tag, self.run(pixels)


@pytest.fixture
def pictures():
    """Six grey pictures and a white one in fsspec's memory."""
    uris = []
    for i, grey in enumerate([10, 20, 30, 255, 50, 60, 70]):
        uris.append(f"memory://embedder/{i}.png")
        with fsspec.open(uris[-1], "wb") as file:
            Image.new("RGB", (20, 20), (grey,) * 3).save(file, "png")
    return uris


def made(tmp_path, monkeypatch, heals):
    from headstart.images.preprocess import Preprocessing

    spec = fake_spec(write_manifest(tmp_path, [("a", None, None)], 8), batch=4)
    engine = Engine(heals)
    monkeypatch.setattr(embedder, "_engine", lambda *_: engine)
    return EngineEmbedder(spec, TinyBackbone(spec.depth_list(), Preprocessing(side=SIDE))), engine


def test_remote_pictures_in_full_batches(tmp_path, monkeypatch, pictures):
    embed, engine = made(tmp_path, monkeypatch, heals=True)
    columns, errors = embed([*pictures[:3], "memory://embedder/none.png", *pictures[4:]])
    assert errors == [None] * 3 + ["file not found"] + [None] * 3
    assert columns["vector.block0"][:, 0].tolist() == [10, 20, 30, 0, 50, 60, 70]
    assert set(engine.sizes) == {4}


@pytest.mark.parametrize("heals", [True, False])
def test_what_is_not_finite_is_tried_alone(tmp_path, monkeypatch, pictures, heals):
    embed, _ = made(tmp_path, monkeypatch, heals)
    columns, errors = embed(pictures)
    expected = [10, 20, 30, 255 if heals else 0, 50, 60, 70]
    assert columns["vector.block0"][:, 0].tolist() == expected
    assert errors == [None] * 3 + [None if heals else NOT_FINITE] + [None] * 3


def test_another_backbone_than_the_specs_is_refused(tmp_path, lite0):
    spec = fake_spec(write_manifest(tmp_path, [("a", None, None)], 8), backbone=lite0.name, weights_hash="other")
    with pytest.raises(MachineError, match="another than the work was begun with"):
        EngineEmbedder(spec)
