"""Using a saved classifier."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from headstart.classifier.classifier import Classifier
from headstart.classifier.prediction import Prediction, rank
from headstart.errors import ClassifierError, DataError
from headstart.images.load import load_image
from headstart.progress import Silent
from tiny import CLASSES


@pytest.fixture(scope="module")
def classifier(run):
    return Classifier.load(run)


def expected(artefact, paths):
    """The same by numpy and ONNX Runtime, from the file's own description."""
    import onnxruntime

    from headstart.images.preprocess import Preprocessing

    rule = Preprocessing.from_json(artefact.preprocessing)
    batch = np.stack([load_image(path, rule).pixels for path in paths])
    session = onnxruntime.InferenceSession(artefact.model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": batch})[0]


def test_run_and_classifier_folder_mean_the_same(run):
    assert Classifier.load(run).classes == Classifier.load(str(run / "classifier")).classes == CLASSES


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 17, 20])
def test_probabilities_equal_onnx_runtime(classifier, artefact, photos, count):
    found = classifier.predict_proba(photos[:count])
    assert found.shape == (count, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected(artefact, photos[:count]), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_one_in_one_out_and_a_list_in_a_list_out(classifier, photos):
    one, several = classifier.predict(photos[0]), classifier.predict(photos[:3])
    assert isinstance(one, Prediction) and [type(p) for p in several] == [Prediction] * 3
    assert several[0].label == one.label
    assert one.probability == one.top[0][1] == pytest.approx(several[0].probability, abs=1e-5)
    assert one.label == one.top[0][0]
    assert classifier.predict([]) == []


def test_top_is_ranked_and_bounded(classifier, photos):
    everything = classifier.predict(photos[0], top=99)
    assert sorted(name for name, _ in everything.top) == sorted(CLASSES)
    assert [p for _, p in everything.top] == sorted((p for _, p in everything.top), reverse=True)
    assert len(classifier.predict(photos[0], top=1).top) == 1


def test_path_bytes_text_and_array_give_the_same(classifier, photos):
    array = np.asarray(Image.open(photos[3]))
    answers = [classifier.predict(source) for source in (photos[3], str(photos[3]), photos[3].read_bytes(), array)]
    assert len({(p.label, round(p.probability, 5)) for p in answers}) == 1
    assert [p.path for p in answers] == [str(photos[3])] * 2 + [None] * 2


def test_arrays_of_pictures_and_of_paths_count_as_lists(classifier, photos):
    batch = np.zeros((2, 40, 40, 3), np.uint8)
    assert len(classifier.predict(batch)) == 2
    assert len(classifier.predict(np.array([str(p) for p in photos[:4]]))) == 4
    assert isinstance(classifier.predict(np.zeros((40, 40), np.uint8)), Prediction)


def test_bad_pictures_get_an_error_and_keep_their_place(classifier, photos, tmp_path):
    empty, html = tmp_path / "empty.jpg", tmp_path / "page.jpg"
    empty.write_bytes(b"")
    html.write_text("<!doctype html><html></html>")
    sources = [empty, *photos[:18], html, tmp_path / "missing.png", b"junk", photos[19]]
    found = classifier.predict(sources)
    assert [bool(p.error) for p in found] == [True] + [False] * 18 + [True] * 3 + [False]
    assert [p.path for p in found[:2]] == [str(empty), str(photos[0])]
    assert all(p.label is None and p.probability is None and p.top == () for p in found if p.error)
    assert "empty" in found[0].error
    clean = classifier.predict([*photos[:18], photos[19]])
    assert [p.label for p in found if not p.error] == [p.label for p in clean]


def test_probabilities_mark_bad_pictures_and_predict_proba_refuses_them(classifier, photos):
    result = classifier.probabilities([photos[0], b"", photos[1]])
    assert list(result.errors) == [1] and np.isnan(result.values[1]).all() and np.isfinite(result.values[[0, 2]]).all()
    with pytest.raises(DataError, match="picture 1 cannot be read"):
        classifier.predict_proba([photos[0], b""])


def test_progress_reaches_the_end(classifier, photos):
    class Listener(Silent):
        def start(self, phase, total=None):
            self.started = (phase, total)

        def update(self, done):
            self.done.append(done)

    for ask in (classifier.predict_each, classifier.probabilities):
        listener = Listener()
        listener.done = []
        answers = ask(photos, progress=listener)
        if ask == classifier.predict_each:
            list(answers)
        assert listener.started == ("predict", len(photos))
        assert listener.done == sorted(listener.done) and listener.done[-1] == len(photos)


def test_predictions_come_while_the_rest_is_still_to_be_read(classifier, photos):
    read = []

    class Watched(list):
        def __iter__(self):
            for item in list.__iter__(self):
                read.append(item)
                yield item

    coming = classifier.predict_each(Watched(photos * 60))
    first = next(coming)
    coming.close()
    assert first.path == str(photos[0])
    assert len(read) < len(photos) * 60


def test_many_threads_get_their_own_answers(classifier, photos):
    alone = [classifier.predict(photo).label for photo in photos]
    answers = {}

    def ask(number):
        answers[number] = [classifier.predict(photo).label for photo in photos[number::4]]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answers[number] == alone[number::4] for number in range(4))


def test_a_pickled_classifier_answers_the_same(classifier, photos):
    classifier.predict(photos[0])  # the engine is compiled now, and must not be pickled
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(photos[:5]), classifier.predict_proba(photos[:5]))


def test_a_prediction_reads_well():
    good = Prediction("a.jpg", "cat", 0.9, (("cat", 0.9), ("dog", 0.1)))
    assert repr(good) == "<a.jpg: cat 90.0 %, dog 10.0 %>"
    assert repr(Prediction(None, None, None, (), "empty file")) == "<not read: empty file>"
    with pytest.raises(AttributeError):
        good.label = "dog"


def test_equal_probabilities_are_ranked_in_class_order():
    assert [name for name, _ in rank(np.array([0.2, 0.4, 0.4]), "abc", 3)] == ["b", "c", "a"]


def test_file_names_are_safe_to_print(classifier, tmp_path):
    odd = tmp_path / "a\n\x1b[31m.png"
    Image.new("RGB", (40, 40)).save(odd, format="png")
    prediction = classifier.predict(odd)
    assert prediction.error is None and prediction.path.isprintable() and "\n" not in repr(prediction)


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_a_folder_without_classifier_is_refused_by_name(tmp_path, where):
    with pytest.raises(ClassifierError, match=r"classifier\.json is missing; give the folder"):
        Classifier.load(tmp_path / where)


def test_predicting_imports_nothing_heavy_and_touches_nothing_else(run, photos, tmp_path):
    """A cold process: no torch, onnx, scikit-learn; no file in HOME; CI unset (telemetry would be on)."""
    code = (
        "import sys, json\n"
        "from headstart.classifier.classifier import Classifier\n"
        "p = Classifier.load(sys.argv[1]).predict(sys.argv[2])\n"
        "heavy = {'torch', 'onnx', 'sklearn', 'timm', 'scipy', 'pyarrow', 'torchvision', 'onnxruntime'}\n"
        "print(json.dumps([p.label, sorted(heavy & set(sys.modules))]))\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", code, run, photos[0]],
        env={**env, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    label, heavy = json.loads(done.stdout)
    assert label in CLASSES and heavy == [] and list(tmp_path.iterdir()) == []
