"""Maps cut out of the exported graph are those of the torch network; nothing behind them is kept."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
import torch

from headstart.backbone.backbone import Backbone
from headstart.backbone.graph_maps import map_graph, map_name, map_shapes
from headstart.engine.openvino import OpenVinoEngine
from tiny import DIMS, SIDE, tiny_features, tiny_graph


@cache
def squares(n: int = 2, side: int = 224) -> np.ndarray:
    coarse = np.random.default_rng(5).integers(0, 256, (n, 7, 7, 3), dtype=np.uint8)
    return coarse.repeat(side // 7, axis=1).repeat(side // 7, axis=2)


def test_maps_are_those_of_the_torch_network(lite0: Backbone) -> None:
    outputs = OpenVinoEngine(map_graph(lite0.graph(), ["block2", "block5"])).run(squares())
    network = lite0.torch_module()
    with torch.no_grad():
        x = (torch.from_numpy(squares()).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        x = network.body.bn1(network.body.conv_stem(x))
        for i, group in enumerate(network.body.blocks[:6]):
            x = group(x)
            pooled = outputs[f"block{i}"]
            np.testing.assert_allclose(pooled, x.mean((2, 3)), atol=1e-4 * float(np.abs(pooled).max()))
            if i in (2, 5):
                found = outputs[map_name(f"block{i}")]
                np.testing.assert_allclose(found, x, atol=1e-4 * float(x.abs().max()))
    assert set(outputs) == {"map:block2", "map:block5", *(f"block{i}" for i in range(6))}


def test_shapes_are_known_without_running(lite0: Backbone) -> None:
    found = map_shapes(lite0.graph(), ["block0", "block5"])
    assert found == {"block0": (112, 112, 16), "block5": (7, 7, 192)}


def test_a_graph_without_recorded_shapes_and_with_another_mean() -> None:
    assert map_shapes(tiny_graph(), ["block0", "block1"]) == {"block0": (16, 16, 4), "block1": (8, 8, 6)}
    pixels = squares(3, 28)[:, :1, :1].repeat(SIDE, axis=1).repeat(SIDE, axis=2)
    outputs = OpenVinoEngine(map_graph(tiny_graph(), ["block1"])).run(pixels)
    np.testing.assert_allclose(outputs["map:block1"].mean((2, 3)), tiny_features(pixels)["block1"], rtol=1e-4)
    np.testing.assert_allclose(outputs["block1"], tiny_features(pixels)["block1"], rtol=1e-4)


def test_nothing_behind_the_deepest_map_is_kept() -> None:
    model = onnx.load_from_string(map_graph(tiny_graph(), ["block0"]))
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == ["map:block0", "block0"]
    assert {tensor.name for tensor in model.graph.initializer} == {"middle", "block0_kernel"}


@pytest.mark.parametrize(("depth", "said"), [("block9", "no depth"), ("source_logits", "not from the mean")])
def test_what_is_no_map_is_refused(depth: str, said: str) -> None:
    assert depth not in DIMS
    with pytest.raises(ValueError, match=said):
        map_graph(tiny_graph(), [depth])
