"""Moments out of the folded graph: the algebra against torch, and what has no BatchNorm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper

from headstart.backbone.backbone import Backbone
from headstart.backbone.graph_moments import Norm, backbone_moment_graph, moment_graph
from headstart.backbone.network import load_network
from headstart.engine.openvino import OpenVinoEngine
from headstart.images.load import load_image
from tiny import tiny_graph
from tiny_norms import folded_graph, model, smooth_pictures, tensors_of, tiny_network


def standardised(graph: bytes, norm: Norm, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the layer's input in running deviations, all pictures together, live channels."""
    outputs = OpenVinoEngine(graph).run(pixels)
    alive = norm.unit > 0
    mean, square = (outputs[name].astype(np.float64).mean(0)[alive] for name in norm.outputs)
    return mean / norm.unit[alive], np.sqrt(square - mean**2) / norm.unit[alive]


def test_its_own_pictures_have_mean_0_and_deviation_1() -> None:
    pixels = smooth_pictures(64)
    network = tiny_network(pixels, eps=0.1)  # large: a formula that forgets it would show
    graph, norms = moment_graph(folded_graph(network), tensors_of(network))
    assert [norm.name for norm in norms] == ["stage0.conv", "stage1.conv"]
    for norm in norms:
        mean, deviation = standardised(graph, norm, pixels)
        np.testing.assert_allclose(np.abs(mean), 0, atol=1e-4)
        np.testing.assert_allclose(deviation, 1, atol=1e-3)


def test_the_folded_algebra_is_what_a_torch_hook_sees(lite0: Backbone, photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))[::9]
    pixels = np.stack([load_image(file, lite0.preprocessing).pixels for file in files])
    network = load_network(lite0.source, lite0.cache)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def hook(layer: torch.nn.Module, inputs: tuple[torch.Tensor], _output: object) -> None:
        x = inputs[0].double().transpose(0, 1).flatten(1)
        sigma = layer.running_var.double().sqrt()
        difference = (x.mean(1) - layer.running_mean.double()) / sigma
        seen.append((difference.numpy(), (x.std(1, correction=0) / sigma).numpy()))

    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.register_forward_hook(hook)
    with torch.inference_mode():
        network(torch.from_numpy(pixels))
    graph, norms = backbone_moment_graph(lite0)
    assert len(norms) == len(seen) == 49
    outputs = OpenVinoEngine(graph).run(pixels)
    for norm, (wanted_mean, wanted_deviation) in zip(norms, seen, strict=True):
        alive = norm.unit > 0
        assert alive.mean() > 0.8
        mean, square = (outputs[name].astype(np.float64).mean(0) for name in norm.outputs)
        deviation = np.sqrt(np.maximum(square - mean**2, 0))[alive] / norm.unit[alive]
        # the sign of gamma is not kept: the distance squares it
        np.testing.assert_allclose(np.abs(mean[alive]) / norm.unit[alive], np.abs(wanted_mean[alive]), atol=1e-3)
        np.testing.assert_allclose(deviation, wanted_deviation[alive], atol=1e-3)


def test_a_network_without_batchnorm_has_no_layers() -> None:
    assert moment_graph(tiny_graph(), {}) == (b"", ())


def test_other_statistics_than_the_folded_ones_are_not_believed() -> None:
    network = tiny_network(smooth_pictures(16))
    tensors = tensors_of(network)
    tensors["stage0.norm.running_mean"] = tensors["stage0.norm.running_mean"] + 1
    _, norms = moment_graph(folded_graph(network), tensors)
    assert [norm.name for norm in norms] == ["stage1.conv"]


def test_of_several_norms_beside_a_convolution_the_folded_one_counts() -> None:
    network = tiny_network(smooth_pictures(16))
    tensors = tensors_of(network)
    for which in ("weight", "bias", "running_mean", "running_var"):
        tensors[f"stage0.another.{which}"] = tensors[f"stage0.norm.{which}"] + 0.5
    assert tensors["stage0.norm.bias"].shape == (8,)
    _, (first, _) = moment_graph(folded_graph(network), tensors)
    np.testing.assert_allclose(first.centre, tensors["stage0.norm.bias"])


def test_frozen_batchnorm_needs_no_more_than_its_four_tensors() -> None:
    network = tiny_network(smooth_pictures(16))
    tensors = {k: v for k, v in tensors_of(network).items() if not k.endswith("num_batches_tracked")}
    assert len(moment_graph(folded_graph(network), tensors)[1]) == 2


@pytest.mark.parametrize("dead", ["weight", "running_var"])
def test_dead_channels_are_left_out(dead: str) -> None:
    network = tiny_network(smooth_pictures(16))
    with torch.no_grad():
        getattr(network.stage0["norm"], dead)[2] = 0
    _, (first, _) = moment_graph(folded_graph(network), tensors_of(network))
    assert np.flatnonzero(first.unit == 0).tolist() == [2]


def test_batchnorm_that_was_not_folded_is_read_directly() -> None:
    names = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    values = np.array([[2, -1, 1], [5, 0, 0], [127, 100, 150], [60.0**2, 70.0**2, 80.0**2]], np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=1),
        helper.make_node("Transpose", ["float"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("BatchNormalization", ["x", *names], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["last"], axis=1),
    ]
    pixels = smooth_pictures(8)
    graph, (norm,) = moment_graph(model(nodes, dict(zip(names, values, strict=True)), 3), {})
    mean, deviation = standardised(graph, norm, pixels)
    wanted = pixels.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(mean, (wanted.mean(0) - values[2]) / [60, 70, 80], rtol=1e-4)
    np.testing.assert_allclose(deviation, wanted.std(0) / [60, 70, 80], rtol=1e-4)


def test_a_layer_used_twice_counts_once() -> None:
    constants = {"body.conv.weight": np.ones((3, 3, 1, 1), np.float32), "body.conv.bias": np.zeros(3, np.float32)}
    tensors = {"conv.weight": constants["body.conv.weight"], "norm.running_mean": np.zeros(3, np.float32)}
    tensors["norm.running_var"] = np.ones(3, np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=1),
        helper.make_node("Transpose", ["float"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", *constants], ["y"]),
        helper.make_node("Conv", ["y", *constants], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["last"], axis=1),
    ]
    pixels = smooth_pictures(4)
    graph, (norm,) = moment_graph(model(nodes, constants, 3), tensors)
    mean, _ = standardised(graph, norm, pixels)
    np.testing.assert_allclose(mean, pixels.astype(float).mean((0, 1, 2)).sum(), rtol=1e-4)
