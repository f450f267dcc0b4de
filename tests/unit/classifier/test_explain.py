"""Where a saved classifier looked: exact arithmetic on a tiny network, what cannot be told, and the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headstart.artefact import write_classifier
from headstart.classifier.build import build_model
from headstart.classifier.classifier import Classifier
from headstart.classifier.explain import explainer, head_of
from headstart.classifier.heat import (
    as_map,
    evidence,
    grid_of,
    heat_of,
    on_one_grid,
    weights_for,
)
from headstart.errors import ClassifierError
from headstart.head.layered import layers_of, tensors_of
from tiny import PREPROCESSING, SIDE, tiny_artefact, tiny_features, tiny_graph, tiny_head, tiny_layered_head

DEPTHS = ("block1", "last")


@pytest.fixture(scope="module")
def pixels():
    """Smooth squares (12, 32, 32, 3)."""
    coarse = np.random.default_rng(5).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)


def names(k):
    return tuple(f"class {i}" for i in range(k))


def with_graph(artefact, graph):
    """The classifier of `artefact` on another network."""
    head, classes = head_of(artefact), artefact.classes
    model = build_model(graph, artefact.depths, head, artefact.temperature, classes, PREPROCESSING)
    return replace(artefact, model=model)


def edited(change):
    """The tiny graph after `change(graph)`."""
    model = onnx.load_from_string(tiny_graph())
    change(model.graph)
    return model.SerializeToString()


ARTEFACTS = {
    "two depths": lambda: tiny_artefact(),
    "one depth": lambda: tiny_artefact(("last",)),
    "depths in another order": lambda: tiny_artefact(("last", "block0")),
    "extra layers": lambda: tiny_artefact(head=tiny_layered_head()),
    "fine-tuned": lambda: with_graph(tiny_artefact(), tiny_graph(seed=3)),
    "two classes": lambda: tiny_artefact(classes=("a", "b"), head=tiny_head(DEPTHS, 2)),
    "1,000 classes": lambda: tiny_artefact(classes=names(1000), head=tiny_head(DEPTHS, 1000)),
}


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_it_gives_the_classifiers_own_probabilities_and_a_heat_map(kind, pixels):
    artefact = ARTEFACTS[kind]()
    looked = explainer(artefact).look(pixels)
    np.testing.assert_allclose(looked.probabilities, Classifier(artefact).run(pixels), atol=1e-5)
    assert looked.heat.shape[0] == len(pixels) and looked.heat.dtype == np.float32
    assert looked.heat.min() >= 0 and looked.heat.max(axis=(1, 2)) == pytest.approx(np.ones(len(pixels)))


def test_features_are_what_the_head_reads(pixels):
    found = explainer(tiny_artefact()).look(pixels).features
    wanted = tiny_features(pixels)
    np.testing.assert_allclose(found, np.concatenate([wanted[depth] for depth in DEPTHS], axis=1), atol=1e-4)


@pytest.mark.parametrize("head", [tiny_head(DEPTHS), tiny_layered_head(DEPTHS)], ids=["linear", "layered"])
def test_evidence_adds_up_to_the_logit_exactly(head, pixels):
    """Its mean over the positions is the change of the logit, against the mean of all classes, from the mean vector."""
    artefact = tiny_artefact(head=head)
    look = explainer(artefact)
    outputs = look.engine().run(pixels)
    features = look.read(outputs).features
    classes = np.arange(len(pixels)) % 3
    weights = weights_for(layers_of(head), features, classes)
    total = np.zeros(len(pixels))
    at = 0
    for depth in artefact.depths:
        width = outputs[depth].shape[1]
        part = evidence(outputs[f"map:{depth}"], weights[:, at : at + width], np.asarray(head.mean)[at : at + width])
        total += part.mean(axis=(1, 2))
        at += width
    np.testing.assert_allclose(total, (weights * (features - head.mean)).sum(axis=1), rtol=1e-3, atol=1e-4)
    step = 1e-3 * (np.asarray(head.mean) - features)  # small enough that no unit is switched on or off

    def contrast(X):
        values = np.asarray(X, np.float64)
        *hidden, last = layers_of(head)
        for layer in hidden:
            values = np.maximum(values @ layer.weights.T + layer.bias, 0)
        logits = values @ last.weights.T + last.bias
        return logits[np.arange(len(X)), classes] - logits.mean(axis=1)

    slope = (contrast(features + step) - contrast(features)) / 1e-3
    steady = np.abs(slope + total) < 2e-3 * (1 + np.abs(slope))
    assert steady.mean() >= (1 if len(layers_of(head)) == 1 else 0.75)  # a unit may lie at its kink


def test_the_map_depends_on_the_class_that_is_asked_about(pixels):
    look = explainer(tiny_artefact())
    one, two = (look.look(pixels, np.full(len(pixels), k)).heat for k in (0, 1))
    assert np.abs(one - two).max() > 0.5
    best = look.look(pixels)
    np.testing.assert_array_equal(best.heat, look.look(pixels, best.probabilities.argmax(axis=1)).heat)


def as_tokens(graph, depth="last", before=0):
    """The map of `depth` as a row of tokens, `before` zeros in front: how transformers travel."""
    shape = numpy_helper.from_array(np.array([0, 0, 1, -1]), f"{depth}_row")
    pads = numpy_helper.from_array(np.array([0, 0, 0, before, 0, 0, 0, 0]), f"{depth}_pads")
    axes = numpy_helper.from_array(np.array([2, 3]), f"{depth}_axes")
    graph.initializer.extend([shape, pads, axes])
    at = next(i for i, node in enumerate(graph.node) if node.output[0] == f"{depth}_pooled")
    del graph.node[at : at + 2]
    nodes = [
        helper.make_node("Reshape", [f"{depth}_map", f"{depth}_row"], [f"{depth}_flat"]),
        helper.make_node("Pad", [f"{depth}_flat", f"{depth}_pads"], [f"{depth}_tokens"]),
        helper.make_node("ReduceMean", [f"{depth}_tokens", f"{depth}_axes"], [depth], keepdims=0),
    ]
    for offset, node in enumerate(nodes):
        graph.node.insert(at + offset, node)


def test_tokens_are_put_back_into_a_square(pixels):
    plain = explainer(tiny_artefact(("last",))).look(pixels)
    rows = explainer(with_graph(tiny_artefact(("last",)), edited(lambda g: as_tokens(g)))).look(pixels)
    np.testing.assert_allclose(rows.heat, plain.heat, atol=1e-4)
    more = explainer(with_graph(tiny_artefact(("last",)), edited(lambda g: as_tokens(g, before=1))))
    found = more.look(pixels, plain.probabilities.argmax(axis=1))
    np.testing.assert_allclose(found.heat, plain.heat, atol=1e-4)


def strongest(graph, depth="last"):
    """Pools `depth` by its maximum instead of its mean."""
    next(node for node in graph.node if node.output[0] == f"{depth}_pooled").op_type = "GlobalMaxPool"


def test_what_is_not_the_mean_of_a_map_has_no_heat_map_and_says_why(pixels):
    look = explainer(with_graph(tiny_artefact(("last",)), edited(strongest)))
    looked = look.look(pixels)
    assert looked.heat is None and not look.has_heat and "reads (last) is no mean of a feature map" in look.why
    assert looked.probabilities.shape == (len(pixels), 3)
    partly = explainer(with_graph(tiny_artefact(), edited(strongest)))
    assert partly.look(pixels).heat is not None and "block1 only" in partly.why and "\n" not in partly.why
    assert explainer(tiny_artefact()).why == ""


def test_a_map_of_one_place_is_no_map(pixels):
    def one_place(graph):
        next(n for n in graph.node if n.output[0] == "last_pooled").input[0] = "last_mean"
        at = next(i for i, n in enumerate(graph.node) if n.output[0] == "last_pooled")
        graph.node.insert(at, helper.make_node("GlobalAveragePool", ["last_map"], ["last_mean"]))

    look = explainer(with_graph(tiny_artefact(("last",)), edited(one_place)))
    assert look.look(pixels).heat is None and not look.has_heat


def test_a_model_without_its_depths_is_refused_in_one_line(pixels):
    artefact = tiny_artefact(("last",))
    with pytest.raises(ClassifierError, match="no value 'block9'") as caught:
        explainer(replace(artefact, depths=("block9",))).look(pixels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((1, 8, 7, 7), (7, 7, 0)),
        ((1, 8, 1, 196), (14, 14, 0)),
        ((1, 8, 1, 197), (14, 14, 1)),
        ((1, 8, 1, 261), (16, 16, 5)),
        ((1, 8, 1, 1), None),
        ((1, 8, 1, 220), None),
    ],
)
def test_places_of_a_map(shape, grid):
    assert grid_of(shape) == grid
    if grid:
        assert as_map(np.zeros(shape, np.float32)).shape == (1, 8, *grid[:2])


def test_grids_are_joined_without_losing_or_moving_anything():
    coarse, fine = np.zeros((1, 2, 2), np.float32), np.zeros((1, 112, 112), np.float32)
    coarse[0, 0, 1] = 1
    fine[0, :8, 104:] = 1
    both = on_one_grid([coarse, fine])
    assert both.shape == (1, 14, 14) and np.unravel_index(both[0].argmax(), (14, 14)) == (0, 13)
    assert both.mean() == pytest.approx(coarse.mean() + fine.mean(), rel=0.05)
    np.testing.assert_allclose(on_one_grid([np.full((1, 3, 3), 2.0), np.ones((1, 7, 7))]), 3, rtol=1e-6)


def test_evidence_that_is_the_same_everywhere_is_no_heat():
    assert not heat_of(np.full((2, 3, 3), 5.0, np.float32)).any()


def test_explaining_imports_no_torch(tmp_path):
    write_classifier(tmp_path / "c", tiny_artefact())
    code = (
        "import sys, json, numpy as np\n"
        "from pathlib import Path\n"
        "from headstart.artefact import read_classifier\n"
        "from headstart.classifier.explain import explainer\n"
        "explainer(read_classifier(Path(sys.argv[1]))).look(np.zeros((1, 32, 32, 3), np.uint8))\n"
        "print(json.dumps(sorted({'torch', 'sklearn', 'scipy', 'timm'} & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "c"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def patch(label, side, rng):
    """A grey patch (side, side, 3): a chess board, or stripes."""
    y, x = 2 * np.pi * (np.mgrid[:side, :side] + rng.uniform(0, 9, (2, 1, 1))) / rng.uniform(8, 12)
    wave = np.sign(np.sin(x) * np.sin(y)) if label else np.sin(x + y)
    return np.repeat((127.5 + 100 * wave).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("depths", [("last",), ("block4", "block5")])
def test_the_real_network_looks_at_the_patch_that_tells_the_classes_apart(depths, lite0, photos, samples_folder):
    """64 of 224 pixels, anywhere inside a quarter, on crops of photographs; benchmarks/heat_maps.py asks more."""
    from PIL import Image

    from headstart.engine.openvino import OpenVinoEngine
    from headstart.head.estimator import HeadClassifier

    rng = np.random.default_rng(0)
    crops = []
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        with Image.open(samples_folder / name) as file:
            whole = np.asarray(file.convert("RGB"))
        for _ in range(22):
            top, left = (int(rng.integers(0, length - 224)) for length in whole.shape[:2])
            crops.append(whole[top : top + 224, left : left + 224].copy())
    labels, quarters = np.arange(len(crops)) % 2, rng.integers(0, 2, (len(crops), 2))
    for crop, label, quarter in zip(crops, labels, quarters, strict=True):
        top, left = 112 * quarter + rng.integers(0, 112 - 64 + 1, 2)
        crop[top : top + 64, left : left + 64] = patch(label, 64, rng)
    pixels, learn = np.stack(crops), rng.random(len(crops)) < 0.6
    outputs = OpenVinoEngine(lite0.graph(), depths).run(pixels[learn])
    head = HeadClassifier(0.01).fit(np.concatenate([outputs[d] for d in depths], axis=1), labels[learn]).head_
    model = build_model(lite0.graph(), depths, head, 1.0, ("stripes", "chess"), lite0.preprocessing)
    artefact = replace(
        tiny_artefact(), classes=("stripes", "chess"), depths=depths, head=tensors_of(head), model=model,
        preprocessing=lite0.preprocessing.to_json(), temperature=1.0,
    )  # fmt: skip
    looked = explainer(artefact).look(pixels[~learn])
    right = looked.probabilities.argmax(axis=1) == labels[~learn]
    assert right.mean() >= 0.85
    size = looked.heat.shape[1]
    first = np.clip(size / 2 - np.arange(size), 0, 1)
    halves = (first, 1 - first)
    inside = np.stack([np.outer(halves[row], halves[column]) for row, column in quarters[~learn]])
    places = looked.heat.reshape(len(right), -1).argmax(axis=1)
    hit = inside.reshape(len(right), -1)[np.arange(len(right)), places] > 0
    mass = (looked.heat * inside).sum(axis=(1, 2)) / looked.heat.sum(axis=(1, 2))
    assert hit[right].mean() >= 0.95 and mass[right].mean() >= 0.5
