"""The gate that `fit` passes before it says done: every way in which a written classifier can be wrong is caught."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from headstart.artefact import write_classifier
from headstart.classifier import verify as gate
from headstart.classifier.verify import margins_of, pick_for_verification, verify
from headstart.engine.openvino import OpenVinoEngine
from headstart.errors import HeadstartError
from headstart.images.load import load_image
from headstart.images.preprocess import Preprocessing
from headstart.predictions import softmax
from tiny import CLASSES, PREPROCESSING, SIDE, tiny_artefact, tiny_graph, tiny_head

DEPTHS = ("block1", "last")


@pytest.fixture(scope="module")
def expected(artefact, photos):
    """What `fit` has in hand: the backbone's own fp32 features and the numpy head, not the written model."""
    batch = np.stack([load_image(photo, PREPROCESSING).pixels for photo in photos])
    outputs = OpenVinoEngine(tiny_graph(), outputs=list(DEPTHS)).run(batch)
    features = np.concatenate([outputs[depth] for depth in DEPTHS], axis=1)
    return softmax(tiny_head(DEPTHS).logits(features), artefact.temperature)


def wrong(tmp_path, artefact, photos, expected, match, classes=CLASSES):
    write_classifier(tmp_path / "c", artefact)
    with pytest.raises(HeadstartError, match=match) as caught:
        verify(tmp_path / "c", photos, expected, classes)
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)


def spoiled(artefact, name, change):
    model = onnx.load_from_string(artefact.model)
    tensor = next(t for t in model.graph.initializer if t.name.endswith(name))
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))
    return dataclasses.replace(artefact, model=model.SerializeToString())


def test_a_right_classifier_passes(run, photos, expected):
    verify(run / "classifier", photos, expected, CLASSES)
    verify(run / "classifier", photos[:1], expected[:1], CLASSES)


def test_a_flipped_bias_is_caught_and_the_picture_named(tmp_path, artefact, photos, expected):
    wrong(tmp_path, spoiled(artefact, "_bias", lambda bias: -bias), photos, expected, str(photos[0]))


def test_a_slightly_wrong_weight_is_caught(tmp_path, artefact, photos, expected):
    wrong(tmp_path, spoiled(artefact, "_weights", lambda w: w * 1.02), photos, expected, "probabilities differ by 0.0")


def test_another_temperature_is_caught(tmp_path, photos, expected):
    wrong(tmp_path, tiny_artefact(temperature=1.4), photos, expected, "differ")


def test_another_class_order_is_caught(tmp_path, photos, expected):
    wrong(tmp_path, tiny_artefact(classes=CLASSES[::-1]), photos, expected, "another order")


def test_swapped_rows_of_the_head_are_caught(tmp_path, artefact, photos, expected):
    swap = lambda tensor: tensor[::-1].copy()  # noqa: E731
    wrong(tmp_path, spoiled(spoiled(artefact, "_bias", swap), "_weights", swap), photos, expected, "differ")


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_another_preprocessing_is_caught(tmp_path, photos, expected, fit):
    wrong(tmp_path, tiny_artefact(preprocessing=Preprocessing(SIDE, fit)), photos, expected, "differ")


def test_a_model_that_depends_on_its_batch_is_caught(run, photos, expected, monkeypatch):
    honest = gate.Classifier.run
    monkeypatch.setattr(gate.Classifier, "run", lambda self, pixels: honest(self, pixels)[::-1])
    with pytest.raises(HeadstartError, match="in a batch of 2"):
        verify(run / "classifier", photos, expected, CLASSES)


def test_nan_is_never_equal(run, photos, expected, monkeypatch):
    spoilt = gate.Classifier.probabilities

    def with_nan(self, sources):
        result = spoilt(self, sources)
        result.values[4, 1] = np.nan
        return result

    monkeypatch.setattr(gate.Classifier, "probabilities", with_nan)
    with pytest.raises(HeadstartError, match=r"04\.png"):
        verify(run / "classifier", photos, expected, CLASSES)


def test_a_tie_may_fall_either_way_but_not_a_clear_case(run, photos, expected):
    gate._compare(["x.png"], np.array([[0.5004, 0.4996]]), np.array([[0.4998, 0.5002]]), "")
    with pytest.raises(HeadstartError, match=r"x\.png"):
        gate._compare(["x.png"], np.array([[0.503, 0.497]]), np.array([[0.497, 0.503]]), "")
    swapped = expected.copy()
    swapped[3] = swapped[3][::-1]
    with pytest.raises(HeadstartError, match=r"03\.png"):
        verify(run / "classifier", photos, swapped, CLASSES)


def test_a_vanished_picture_is_told(run, photos, expected, tmp_path):
    with pytest.raises(HeadstartError, match=r"gone\.png could not be read"):
        verify(run / "classifier", [*photos[:-1], tmp_path / "gone.png"], expected, CLASSES)


def test_the_closest_calls_are_verified_first():
    probabilities = np.array([[0.9, 0.1], [0.51, 0.49], [0.3, 0.7], [0.5, 0.5]])
    assert pick_for_verification(margins_of(probabilities), 3).tolist() == [3, 1, 2]
    assert pick_for_verification(margins_of(probabilities)).tolist() == [3, 1, 2, 0]


def test_only_what_differs_is_computed_anew(run, photos, expected):
    """Rounded vectors may miss the tolerance on a picture: the second look decides, on that picture alone."""
    rounded = np.array(expected)
    rounded[2] = np.roll(rounded[2], 1)
    asked = []

    def again(rows):
        asked.append(rows.tolist())
        return expected[rows]

    verify(run / "classifier", photos, rounded, CLASSES, again)
    assert asked == [[2]]
    verify(run / "classifier", photos, expected, CLASSES, lambda rows: pytest.fail("nothing differs"))


def test_a_second_look_does_not_excuse_a_wrong_classifier(tmp_path, artefact, photos, expected):
    write_classifier(tmp_path / "c", spoiled(artefact, "_bias", lambda bias: -bias))
    with pytest.raises(HeadstartError, match="differ"):
        verify(tmp_path / "c", photos, expected, CLASSES, lambda rows: expected[rows])
