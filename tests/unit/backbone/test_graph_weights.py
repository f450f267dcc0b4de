"""A graph with trained weights answers as the trained torch network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from headstart.backbone.backbone import Backbone
from headstart.backbone.graph_weights import graph_with
from headstart.engine.openvino import OpenVinoEngine
from headstart.finetune.loop import Lesson, logits_of, train
from headstart.finetune.precision import precisions
from headstart.finetune.schedule import Recipe
from headstart.finetune.tail import Tail
from lessons import Maps, squares
from tiny import tiny_graph


@pytest.fixture(scope="module")
def maps(lite0: Backbone, photos: Path) -> Maps:
    return Maps(lite0.torch_module(), squares(photos, lite0, 4, 1)[0], depths=(5, 7))


@pytest.mark.parametrize("amount", ["last-2", "norms", "all", "scratch"])
def test_openvino_gives_what_the_trained_tail_gives(lite0: Backbone, maps: Maps, amount: str) -> None:
    tail = Tail(maps.network, amount, maps.depths, maps.head(4))
    rows = np.arange(4)
    recipe = Recipe(learning_rate=0.05, epochs=1, batch=2, warm_up=0, precision=precisions("cpu")[0])
    course = train(tail, Lesson(maps, rows, rows, rows[:0]), recipe)
    expected = logits_of(tail, maps, rows)
    engine = OpenVinoEngine(graph_with(lite0.graph(), course.trained.tensors), ["block5", "last"])
    outputs = engine.run(maps.pixels)
    found = course.trained.head.logits(np.concatenate([outputs["block5"], outputs["last"]], axis=1))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    # the training moved the features by much more than that, so the graph does hold its weights
    assert np.abs(course.trained.head.logits(maps.embeddings) - expected).max() > 0.02


def test_only_the_named_weights_are_other_ones() -> None:
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(tiny_graph()).graph.initializer}
    kernel = before["block1_kernel"].astype(np.float64) * 2
    model = onnx.load_from_string(graph_with(tiny_graph(), {"block1_kernel": np.asfortranarray(kernel)}))
    onnx.checker.check_model(model, full_check=True)
    after = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert after.pop("block1_kernel").tolist() == (before.pop("block1_kernel") * 2).tolist()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert before.keys() == after.keys()


def test_from_a_file_as_from_bytes(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(tiny_graph())
    assert graph_with(path, {}) == graph_with(tiny_graph(), {})


def test_what_does_not_fit_is_refused() -> None:
    kernel = next(t for t in onnx.load_from_string(tiny_graph()).graph.initializer if t.name == "block1_kernel")
    right = numpy_helper.to_array(kernel)
    with pytest.raises(ValueError, match="no weights 'block9_kernel'"):
        graph_with(tiny_graph(), {"block9_kernel": right})
    with pytest.raises(ValueError, match="the graph wants"):
        graph_with(tiny_graph(), {"block1_kernel": right[:-1]})
    for wrong in (np.nan, np.inf, 1e300):  # the last is too large for float32
        with pytest.raises(ValueError, match="not finite"):
            graph_with(tiny_graph(), {"block1_kernel": np.full(right.shape, wrong)})
