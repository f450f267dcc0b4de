"""Export: what is written, what is compared, and that nothing is left when something is wrong."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError, DataError, HeadstartError, MachineError, UsageError
from headstart.exporting import export as story
from headstart.exporting.export import Request, export
from headstart.exporting.judge import Verdict
from headstart.progress import Silent
from tiny import CLASSES


def go(run, kind="onnx", **more):
    return export(Request(run, kind, **more), Silent())


def left(run):
    return {p.name for p in run.iterdir()} - {"classifier", "result.json", "predictions.csv"}


def tampered(model):
    """`model` with one bias of the head flipped."""
    opened = onnx.load_from_string(model)
    bias = next(t for t in opened.graph.initializer if t.name == "headstart_bias")
    values = np.array(onnx.numpy_helper.to_array(bias))
    values[0] += 1
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    return opened.SerializeToString()


def test_the_folder_answers_as_the_classifier_does(run, pictures):
    done = go(run)
    folder = run / "export-onnx"
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "labels.txt", "predict.py", "README.md"}
    assert (folder / "labels.txt").read_text().splitlines() == list(CLASSES)
    classifier = Classifier.load(run)
    picture = classifier.load_picture(pictures / "dog" / "07.png").pixels
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": picture[None]})
    np.testing.assert_allclose(found, classifier.run(picture[None]), atol=1e-4)
    assert done["pictures"] == 60 and done["batches"] == [1, 2, 7]
    assert set(done["largest_difference"]) == {"onnxruntime", "predict.py"}
    assert max(done["largest_difference"].values()) < 1e-3
    json.dumps(done, allow_nan=False)


def test_the_readme_holds_what_was_measured_and_no_gaps(run):
    done = go(run)
    text = (run / "export-onnx" / "README.md").read_text()
    assert "@" not in text.replace("@@", "@"), "a placeholder was left"
    assert all(f"| {way['how']} |" in text for way in done["resizing"])
    whole, bilinear, area = (way["largest"] for way in done["resizing"])
    assert whole < 0.02 and min(bilinear, area) > whole
    assert "onnxruntime-web" in text and "cv::INTER_AREA" in text and "(n, 32, 32, 3)" in text


def test_openvino_files_answer_the_same(run):
    done = go(run, "openvino")
    folder = run / "export-openvino"
    names = {p.name for p in folder.iterdir()}
    assert names == {"model.xml", "model.bin", "labels.txt", "predict.py", "README.md"}
    assert set(done["largest_difference"]) == {"openvino", "predict.py"}
    assert '"cat"' in (folder / "model.xml").read_text().replace("&quot;", '"')


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_model_that_differs_leaves_no_file(run, monkeypatch, kind):
    built = story._files

    def wrong(kind, model, *rest):
        return built(kind, tampered(model), *rest)

    monkeypatch.setattr(story, "_files", wrong)
    with pytest.raises(HeadstartError, match=r"does not give the classifier's answer on \w+/\d+\.\w+.*nothing was exp"):
        go(run, kind)
    assert left(run) == set()


def test_a_script_that_differs_leaves_no_file(run, monkeypatch):
    """The gate goes through the script's own decoding, not only through the model."""
    monkeypatch.setattr(
        "headstart.exporting.predict_script.to_square", lambda image, rule: np.zeros((32, 32, 3), np.uint8)
    )
    with pytest.raises(HeadstartError, match=r"through predict\.py"):
        go(run)
    assert left(run) == set()


def test_the_old_export_survives_a_failure_and_goes_on_success(run, monkeypatch):
    go(run)
    before = (run / "export-onnx" / "model.onnx").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        go(run)
    with monkeypatch.context() as patch:
        patch.setattr("headstart.exporting.export._script_gate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            go(run, overwrite=True)
    assert (run / "export-onnx" / "model.onnx").read_bytes() == before
    (run / "export-onnx" / "README.md").write_text("old")
    go(run, overwrite=True)
    assert (run / "export-onnx" / "README.md").read_text() != "old"
    assert left(run) == {"export-onnx"}


def test_nothing_but_an_export_is_replaced(run, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    for out in (mine, run, tmp_path):
        with pytest.raises(UsageError, match="is not an exported folder"):
            go(run, out=out, overwrite=True)
    with pytest.raises(UsageError, match="not a folder"):
        go(run, out=mine / "thesis.txt", overwrite=True)
    assert (mine / "thesis.txt").read_text() == "years"
    deep = tmp_path / "a" / "b" / "c"
    go(run, out=deep)
    assert (deep / "model.onnx").is_file()


def test_without_known_pictures_it_asks_for_some(run, tmp_path, pictures):
    for call in ({}, {"call": {"data": str(tmp_path / "gone")}}, {"call": None}):
        (run / "result.json").write_text(json.dumps(call))
        with pytest.raises(UsageError, match="--data PICTURES"):
            go(run)
    (run / "result.json").unlink()
    with pytest.raises(UsageError, match="--data PICTURES"):
        go(run)
    with pytest.raises(DataError, match="no such folder"):
        go(run, data=tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError):
        go(run, data=empty)
    (empty / "a.png").write_text("no picture")
    with pytest.raises(DataError, match="none of 1 pictures can be read"):
        go(run, data=empty)
    assert left(run) == set()
    assert go(run, data=pictures / "cat")["pictures"] == 20, "a folder of pictures without classes"


def test_onnxruntime_missing_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MachineError, match=r"pip install 'headstart\[onnx\]'"):
        go(run)
    assert left(run) == set()


def test_an_unknown_kind_is_refused(run):
    with pytest.raises(UsageError, match="onnx, int8, openvino"):
        go(run, "coreml")


# --- int8 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    """Fakes what int8 costs and brings; the quantised model is real."""

    def set_to(lost, gain):
        def judge(models, classifier, sources, labels, how):
            speed = {"onnxruntime": (100.0, 100.0 * gain)}
            return Verdict(len(sources), how, 0.9, 0.9 - lost, 0.99, speed, (len(models[0]), len(models[1])))

        monkeypatch.setattr(story, "judge", judge)

    return set_to


@pytest.mark.parametrize(("lost", "gain"), [(0.0, 1.2), (0.005, 3.0), (-0.01, 1.01)])
def test_int8_is_kept_when_it_is_as_good_and_faster(run, measured, lost, gain):
    measured(lost, gain)
    done = go(run, "int8")
    assert done["int8"]["kept"] and f"{100 * (0.9 - lost):.2f} %" in done["says"] and "90.00 %" in done["says"]
    model = onnx.load(run / "export-int8" / "model.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert {p.key for p in model.metadata_props} >= {"classes", "preprocessing", "resize"}
    weights = {t.name: t for t in model.graph.initializer if t.name.endswith("_quantized")}
    assert any(t.data_type == onnx.TensorProto.INT8 for t in weights.values())
    scales = {len(onnx.numpy_helper.to_array(t).ravel()) for t in model.graph.initializer if t.name.endswith("_scale")}
    assert max(scales) > 1, "one scale per channel"
    assert done["says"] in (run / "export-int8" / "README.md").read_text()


@pytest.mark.parametrize(
    ("lost", "gain", "why"), [(0.006, 3.0, "loses more than 0.5 points"), (0.0, 0.99, "is not faster here")]
)
def test_int8_is_refused_with_both_figures(run, measured, lost, gain, why):
    measured(lost, gain)
    with pytest.raises(ClassifierError, match=why) as caught:
        go(run, "int8")
    assert f"{100 * (0.9 - lost):.2f} % right answers, fp32 90.00 %" in str(caught.value)
    assert f"{100 * gain:.0f} pictures a second instead of 100" in str(caught.value)
    assert left(run) == set()


def test_int8_of_a_tiny_network_is_really_judged(run, monkeypatch):
    """No faked figure: kept or not, the judgement is about pictures that did not calibrate, and says so."""
    monkeypatch.setattr("headstart.exporting.judge.SECONDS", 0.05)
    seen = {}
    real = story.judge
    monkeypatch.setattr(story, "judge", lambda *a: seen.setdefault("verdict", real(*a)))
    try:
        go(run, "int8")
        assert (run / "export-int8" / "model.onnx").is_file()
    except ClassifierError as error:
        assert seen["verdict"].sentence() in str(error)
        assert left(run) == set()
    verdict = seen["verdict"]
    assert verdict.n == 60 - 42 // 2 and "21 of them trained" in verdict.how
    assert set(verdict.speed) == {"onnxruntime", "openvino"}
    assert verdict.agreement > 0.9
