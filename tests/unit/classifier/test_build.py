"""The one ONNX file: what it computes, what it holds, and what is refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from headstart.artefact import class_list_hash
from headstart.artefact.onnx_file import inspect_onnx
from headstart.classifier.build import build_model
from headstart.engine.openvino import OpenVinoEngine
from headstart.head.layered import Dense, LayeredHead
from headstart.head.linear import LinearHead
from headstart.images.preprocess import Preprocessing
from headstart.predictions import softmax
from tiny import CLASSES, DIMS, PREPROCESSING, SIDE, tiny_graph, tiny_head, tiny_layered_head


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


def run(model, batch, outputs=None):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(outputs, {"images": batch})


@pytest.mark.parametrize("depths", [("block0",), ("last",), ("block0", "block1"), ("last", "block0"), tuple(DIMS)])
@pytest.mark.parametrize("temperature", [1.0, 0.4, 7.0])
def test_it_computes_the_head_on_the_chosen_depths(depths, temperature):
    head = tiny_head(depths)
    model = build_model(tiny_graph(), depths, head, temperature, CLASSES, PREPROCESSING)
    batch = pictures(7)
    features = np.concatenate(run(tiny_graph(), batch, list(depths)), axis=1)
    expected = softmax(head.logits(features), temperature)
    for size in (1, 2, 7):
        (found,) = run(model, batch[:size])
        assert found.dtype == np.float32 and found.shape == (size, len(CLASSES))
        np.testing.assert_allclose(found, expected[:size], atol=2e-5)


def test_standardisation_is_folded_without_losing_digits():
    """Features far from zero with a small spread: folding in float32 would cost two to three digits."""
    d = DIMS["last"]
    features = np.concatenate(run(tiny_graph(), pictures(5), ["last"]), axis=1).astype(np.float64)
    rng = np.random.default_rng(0)
    head = LinearHead(rng.normal(size=(3, d)), rng.normal(size=3), features.mean(0), np.full(d, 0.01))
    model = build_model(tiny_graph(), ["last"], head, 30.0, CLASSES, PREPROCESSING)
    exact = ((features - head.mean) / head.scale) @ head.weights.T + head.bias
    np.testing.assert_allclose(run(model, pictures(5))[0], softmax(exact, 30.0), atol=1e-4)


@pytest.mark.parametrize("depths", [("block0",), ("last", "block0"), tuple(DIMS)])
@pytest.mark.parametrize("widths", [(6,), (8, 4), (1,), (5,) * 8])
def test_it_computes_a_head_with_extra_layers(depths, widths):
    head = tiny_layered_head(depths, widths)
    model = build_model(tiny_graph(), depths, head, 0.6, CLASSES, PREPROCESSING)
    batch = pictures(7)
    expected = softmax(head.logits(np.concatenate(run(tiny_graph(), batch, list(depths)), axis=1)), 0.6)
    for size in (1, 2, 7):
        (found,) = run(model, batch[:size])
        assert found.dtype == np.float32 and found.shape == (size, len(CLASSES))
        np.testing.assert_allclose(found, expected[:size], atol=2e-5)
    assert inspect_onnx(model).metadata["format"] == "2"


def test_both_engines_agree_on_extra_layers():
    model = build_model(tiny_graph(), ("last",), tiny_layered_head(("last",)), 1.0, CLASSES, PREPROCESSING)
    found = OpenVinoEngine(model).run(pictures(7))["probabilities"]
    np.testing.assert_allclose(found, run(model, pictures(7))[0], atol=1e-4)


def test_the_standardisation_before_extra_layers_is_folded_without_losing_digits():
    d = DIMS["last"]
    features = np.concatenate(run(tiny_graph(), pictures(5), ["last"]), axis=1).astype(np.float64)
    rng = np.random.default_rng(0)
    first, last = (
        Dense(rng.normal(size=(4, d)), rng.normal(size=4)),
        Dense(rng.normal(size=(3, 4)), rng.normal(size=3)),
    )
    head = LayeredHead((first,), last, features.mean(0), np.full(d, 0.01))
    model = build_model(tiny_graph(), ["last"], head, 30.0, CLASSES, PREPROCESSING)
    hidden = np.maximum(((features - head.mean) / head.scale) @ first.weights.T + first.bias, 0)
    np.testing.assert_allclose(
        run(model, pictures(5))[0], softmax(hidden @ last.weights.T + last.bias, 30.0), atol=1e-4
    )


def test_extra_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="does not fit"):
        build_model(tiny_graph(), ["block0"], tiny_layered_head(("last",)), 1.0, CLASSES, PREPROCESSING)
    with pytest.raises(ValueError, match="does not fit"):
        build_model(tiny_graph(), ["last"], tiny_layered_head(("last",)), 1.0, ("a", "b"), PREPROCESSING)


def test_an_early_depth_carries_nothing_of_the_later_ones():
    early = onnx.load_from_string(
        build_model(tiny_graph(), ["block0"], tiny_head(("block0",)), 1.0, CLASSES, PREPROCESSING)
    )
    late = onnx.load_from_string(build_model(tiny_graph(), ["last"], tiny_head(("last",)), 1.0, CLASSES, PREPROCESSING))
    assert [node.op_type for node in early.graph.node].count("Conv") == 1
    assert [node.op_type for node in late.graph.node].count("Conv") == 3
    names = {tensor.name for tensor in early.graph.initializer}
    assert not any(name.startswith(("block1", "last", "source")) for name in names)


def test_the_file_explains_itself():
    model = build_model(tiny_graph(), ["last"], tiny_head(("last",)), 2.0, ("č", "b\n", "c"), PREPROCESSING)
    facts = inspect_onnx(model)
    assert json.loads(facts.metadata["classes"]) == ["č", "b\n", "c"]
    assert facts.metadata["classes_sha256"] == class_list_hash(("č", "b\n", "c"))
    assert Preprocessing.from_json(json.loads(facts.metadata["preprocessing"])) == PREPROCESSING
    assert f"{SIDE} x {SIDE}" in facts.metadata["resize"] and "uint8" in facts.metadata["resize"]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == facts.metadata
    assert (facts.inputs, facts.outputs) == (("images",), ("probabilities",))


@pytest.mark.parametrize("fit", ["whole", "crop", "pad"])
def test_every_resize_rule_is_told_differently(fit):
    rules = {
        inspect_onnx(
            build_model(tiny_graph(), ["last"], tiny_head(("last",)), 1.0, CLASSES, Preprocessing(SIDE, kind))
        ).metadata["resize"]
        for kind in ("whole", "crop", "pad")
    }
    assert len(rules) == 3


def test_nothing_of_the_machine_that_exported_the_backbone_is_left():
    assert b"/home/me/model.py" in tiny_graph()
    assert b"/home/me" not in build_model(tiny_graph(), ["last"], tiny_head(("last",)), 1.0, CLASSES, PREPROCESSING)


def test_the_same_pieces_give_the_same_bytes():
    depths = ("block0", "last")
    once, again = (build_model(tiny_graph(), depths, tiny_head(depths), 2.0, CLASSES, PREPROCESSING) for _ in "ab")
    assert once == again


@pytest.mark.parametrize(
    ("depths", "head", "classes", "side", "complaint"),
    [
        (["block9"], ("last",), CLASSES, SIDE, "no depth 'block9'"),
        (["last", "last"], ("last", "last"), CLASSES, SIDE, "each once"),
        ([], ("last",), CLASSES, SIDE, "each once"),
        (["block0"], ("last",), CLASSES, SIDE, "does not fit"),
        (["last"], ("last",), ("a", "b"), SIDE, "does not fit"),
        (["last"], ("last",), CLASSES, 64, "preprocessing makes 64"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(depths, head, classes, side, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_model(tiny_graph(), depths, tiny_head(head), 1.0, classes, Preprocessing(side))


class TestInspect:
    """The reader without the onnx package refuses whatever could reach outside of the file."""

    def built(self):
        return onnx.load_from_string(
            build_model(tiny_graph(), ["last"], tiny_head(("last",)), 1.0, CLASSES, PREPROCESSING)
        )

    def refused(self, model, complaint):
        with pytest.raises(ValueError, match=complaint):
            inspect_onnx(model if isinstance(model, bytes) else model.SerializeToString())

    def test_external_data_in_an_initializer(self):
        model = self.built()
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
        self.refused(model, "other files")

    def test_external_data_without_the_location_flag(self):
        model = self.built()
        model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
        self.refused(model, "other files")

    def test_external_data_in_a_constant_node(self):
        model = self.built()
        value = numpy_helper.from_array(np.zeros(3, np.float32))
        value.data_location = TensorProto.EXTERNAL
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))
        self.refused(model, "other files")

    def test_a_subgraph(self):
        model = self.built()
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=model.graph, else_branch=model.graph))
        self.refused(model, "sub-graph")

    def test_a_custom_operator(self):
        model = self.built()
        model.graph.node.append(helper.make_node("Run", ["x"], ["y"], domain="com.evil"))
        self.refused(model, "com.evil")

    def test_functions_and_sparse_tensors(self):
        model = self.built()
        model.functions.add(name="f", domain="d")
        self.refused(model, "functions")
        model = self.built()
        model.graph.sparse_initializer.add()
        self.refused(model, "never have")

    def test_two_graphs_that_a_parser_would_merge(self):
        data = self.built().SerializeToString()
        self.refused(data + data, "not an ONNX")

    @pytest.mark.parametrize(
        "junk", [b"", b"\x00" * 100, pickle.dumps({"a": 1}), b"<html>", b"PK\x03\x04" + b"\x00" * 50, b"\xff" * 30]
    )
    def test_what_is_no_onnx_at_all(self, junk):
        self.refused(junk, "ONNX|never have")

    def test_every_cut_is_noticed_or_harmless(self):
        data = self.built().SerializeToString()
        for length in range(0, len(data), 37):
            try:
                inspect_onnx(data[:length])
            except ValueError:
                continue
            onnx.load_from_string(data[:length])  # what passes is a valid message
