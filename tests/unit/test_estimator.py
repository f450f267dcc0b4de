"""ImageClassifier keeps scikit-learn's contract: our copy, on pictures, of the checks that scikit-learn runs on arrays.

Each check is named after the one in sklearn.utils.estimator_checks that it stands for. Most train with a stand-in for
`pipeline.train` (a nearest-mean head on the tiny graph: milliseconds), those at the end with the real one.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline

from headstart import ImageClassifier
from headstart.artefact import write_classifier
from headstart.backbone.sources import find_source
from headstart.errors import ClassifierError, DataError, HeadstartError, UsageError
from headstart.images.load import BadImageError, load_image
from tiny import PREPROCESSING, nearest_mean_head, tiny_artefact, tiny_features

COLOURS = {"blue": (40, 60, 200), "green": (30, 180, 60), "red": (200, 40, 30)}
PER_CLASS = 8


def quick_train(samples, config, run, progress, clock):
    """What `pipeline.train` promises to the estimator, by the shortest way."""
    find_source(config.backbone)
    rows, squares = [], []
    for row, source in enumerate(samples.sources):
        with contextlib.suppress(BadImageError):
            squares.append(load_image(source, PREPROCESSING).pixels)
            rows.append(row)
    features = tiny_features(np.stack(squares))["last"]
    head = nearest_mean_head(features, samples.labels[rows], len(samples.classes))
    write_classifier(run.classifier, tiny_artefact(("last",), samples.classes, head=head, temperature=1.0))
    run.write_json("result.json", {"data": {"n": len(rows), "skipped": len(samples) - len(rows)}})
    return run


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("headstart.estimator.train_on", quick_train)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """X: 24 paths of noisy pictures, y: their colours; in mixed order."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(PER_CLASS * len(COLOURS)):
        name = list(COLOURS)[i % len(COLOURS)]
        pixels = np.clip(rng.normal(COLOURS[name], 35, (48, 48, 3)), 0, 255).astype(np.uint8)
        rows.append((str(folder / f"{i:02d}.png"), name))
        Image.fromarray(pixels).save(rows[-1][0])
    return [path for path, _ in rows], [name for _, name in rows]


@pytest.fixture
def fitted(data, quick):
    return ImageClassifier().fit(*data)


def arrays(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])


# --- before fit -----------------------------------------------------------------------------------------------------


def test_check_get_params_invariance_and_set_params():
    classifier = ImageClassifier(seed=3)
    names = list(inspect.signature(ImageClassifier).parameters)
    assert list(classifier.get_params()) == sorted(names) == sorted(["backbone", "budget", "train", "seed", "out"])
    assert classifier.set_params(seed=4, train="auto") is classifier
    assert (classifier.seed, classifier.get_params()["train"]) == (4, "auto")
    with pytest.raises(ValueError, match="colour"):
        classifier.set_params(colour="red")


def test_check_no_attributes_set_in_init_and_parameters_default_constructible():
    parameters = inspect.signature(ImageClassifier).parameters
    assert vars(ImageClassifier()) == {name: parameter.default for name, parameter in parameters.items()}
    odd = object()
    assert ImageClassifier(backbone=odd).backbone is odd  # nothing is checked or copied before fit


def test_check_estimator_cloneable(fitted):
    copy = clone(fitted.set_params())
    assert copy is not fitted and copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "classes_")


def test_check_estimators_unfitted(data, quick):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(ImageClassifier(), method)(data[0])
    with pytest.raises(NotFittedError):
        ImageClassifier().score(*data)


def test_check_estimator_repr_and_tags():
    assert "seed=5" in repr(ImageClassifier(seed=5))
    assert is_classifier(ImageClassifier())
    assert not ImageClassifier().__sklearn_tags__().input_tags.two_d_array


# --- fit ------------------------------------------------------------------------------------------------------------


def test_check_estimators_fit_returns_self_and_public_attributes_end_in_underscore(data, quick):
    classifier = ImageClassifier()
    parameters = set(vars(classifier))
    assert classifier.fit(*data) is classifier
    assert all(name.endswith("_") for name in set(vars(classifier)) - parameters)
    assert classifier.result_["data"]["n"] == len(data[0])


def test_check_classifiers_train(fitted, data):
    X, y = data
    predicted, probabilities = fitted.predict(X), fitted.predict_proba(X)
    assert list(fitted.classes_) == sorted(COLOURS)
    assert predicted.shape == (len(X),) and probabilities.shape == (len(X), len(COLOURS))
    assert fitted.score(X, y) == np.mean(predicted == y) > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(axis=1)], predicted)


def test_check_fit_idempotent(fitted, data):
    before = fitted.predict_proba(data[0])
    again = clone(fitted).fit(*data)
    np.testing.assert_allclose(again.predict_proba(data[0]), before, atol=1e-6)
    np.testing.assert_allclose(again.fit(*data).predict_proba(data[0]), before, atol=1e-6)


def test_check_fit_twice_with_other_classes_forgets_the_first(data, quick):
    X, y = data
    few = [i for i, name in enumerate(y) if name != "red"]
    classifier = ImageClassifier().fit(X, y).fit([X[i] for i in few], [y[i] for i in few])
    assert list(classifier.classes_) == ["blue", "green"]
    assert classifier.predict_proba(X).shape == (len(X), 2)


def test_check_dict_unchanged_and_inputs_not_mutated(fitted, data):
    batch, labels = arrays(data[0]), np.array(data[1])
    batch_before, labels_before = batch.copy(), labels.copy()
    classifier = ImageClassifier().fit(batch, labels)
    state = dict(vars(classifier))
    classifier.predict(batch), classifier.predict_proba(batch), classifier.score(batch, labels)
    assert vars(classifier) == state
    np.testing.assert_array_equal(batch, batch_before)
    np.testing.assert_array_equal(labels, labels_before)
    # PNG keeps the pixels, so arrays and files are the same pictures.
    np.testing.assert_allclose(classifier.predict_proba(data[0]), fitted.predict_proba(data[0]), atol=1e-4)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([10, 9, -1]),
        np.array([2, 0, 1], dtype=np.uint8),
        np.array([True, False, True]),
        np.array([0.0, 1.0, 2.0]),
        np.array(["ž", "a b", "<x>"]),
        np.array(["one", "two", "three"], dtype=object),
    ],
    ids=lambda labels: f"{labels.dtype}",
)
def test_check_classifiers_classes(data, quick, labels):
    """Labels of any type come back as what they were, in sorted order; 9 before 10."""
    X, names = data
    y = labels[[list(COLOURS).index(name) for name in names]]
    classifier = ImageClassifier().fit(X, y)
    np.testing.assert_array_equal(classifier.classes_, np.unique(y))
    predicted = classifier.predict(X)
    assert predicted.dtype == y.dtype
    assert np.mean(predicted == y) > 0.9


def test_check_methods_sample_order_and_subset_invariance(fitted, data):
    X = data[0]
    whole = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(X[::-1])[::-1], whole, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([fitted.predict_proba([x]) for x in X[:5]]), whole[:5], atol=1e-5)


def test_check_estimators_pickle(fitted, data):
    pickled = pickle.dumps(fitted)
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.predict_proba(data[0]), fitted.predict_proba(data[0]))
    assert again.get_params() == fitted.get_params() and list(again.classes_) == list(fitted.classes_)
    assert pickled.count(b"headstart.") < 3  # files as bytes: none of our classes but the estimator itself
    assert not hasattr(pickle.loads(pickle.dumps(ImageClassifier(seed=2))), "classes_")


def test_a_damaged_pickle_is_refused(fitted):
    state = fitted.__getstate__()
    state["classifier_"] = {**state["classifier_"], "model.onnx": state["classifier_"]["model.onnx"][:-1] + b"x"}
    with pytest.raises(ClassifierError, match="pickled"):
        ImageClassifier().__setstate__(state)


def test_nothing_is_left_on_disk_unless_asked_for(data, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    ImageClassifier().fit(*data)
    assert list((tmp_path / "temporary").iterdir()) == []
    ImageClassifier(out=tmp_path / "run").fit(*data)
    assert (tmp_path / "run" / "classifier" / "model.onnx").is_file() and (tmp_path / "run" / "result.json").is_file()


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y"), [(5, 4), (4, 5), (0, 3)])
def test_check_consistent_length(data, quick, x, y):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ImageClassifier().fit(data[0][:x], data[1][:y])


def test_check_groups_length(data, quick):
    with pytest.raises(ValueError, match="inconsistent"):
        ImageClassifier().fit(*data, groups=[1, 2, 3])


def test_check_classifiers_one_label(data, quick):
    with pytest.raises(DataError, match="1 class"):
        ImageClassifier().fit(data[0], ["red"] * len(data[0]))


def test_check_supervised_y_no_nan_and_regression_targets(data, quick):
    numbers = np.linspace(0, 1, len(data[0]))
    with pytest.raises(ValueError, match="continuous"):
        ImageClassifier().fit(data[0], numbers)
    with pytest.raises((ValueError, DataError)):
        ImageClassifier().fit(data[0], np.where(numbers < 0.5, 1.0, np.nan))


def test_check_classifiers_two_labels_that_look_alike(data, quick):
    y = ["\u00e9", "e\u0301"] * (len(data[0]) // 2)
    with pytest.raises(ValueError, match="look the same"):
        ImageClassifier().fit(data[0], y)


@pytest.mark.parametrize("x", ["a.png", b"bytes", np.zeros((40, 40, 3), np.uint8)])
def test_one_picture_is_no_list_of_pictures(fitted, x):
    with pytest.raises(ValueError, match="give a list"):
        fitted.predict(x)


@pytest.mark.parametrize(
    "parameters", [{"backbone": "resnet9000"}, {"train": "everything"}, {"seed": -1}, {"budget": "soon"}]
)
def test_parameters_are_checked_in_fit(data, quick, parameters):
    with pytest.raises((UsageError, HeadstartError)) as caught:
        ImageClassifier(**parameters).fit(*data)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("budget", "seconds", "steps"), [(None, 300, None), (7, 7, None), ("2m", 120, None), ("60steps", 3600, 60)]
)
def test_the_budget_and_the_amount_reach_the_run(data, monkeypatch, budget, seconds, steps):
    asked = []

    def note(samples, config, *rest):
        asked.append(config)
        return quick_train(samples, config, *rest)

    monkeypatch.setattr("headstart.estimator.train_on", note)
    ImageClassifier(budget=budget, train="last-2").fit(*data)
    (config,) = asked
    assert (config.budget, config.steps, config.train) == (seconds, steps, "last-2")


def test_unreadable_pictures_are_left_out_in_fit_and_named_in_predict(data, tmp_path, fitted):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut")
    X, y = [*data[0], str(broken)], [*data[1], "red"]
    classifier = ImageClassifier().fit(X, y)
    assert classifier.result_["data"]["skipped"] == 1
    with pytest.raises(DataError, match=r"broken\.jpg"):
        classifier.predict(X)


# --- inside scikit-learn --------------------------------------------------------------------------------------------


def test_it_works_in_cross_validation(data, quick):
    scores = cross_val_score(ImageClassifier(), *data, cv=3)
    assert scores.shape == (3,) and scores.mean() > 0.8
    probabilities = cross_val_predict(ImageClassifier(), arrays(data[0]), data[1], cv=2, method="predict_proba")
    assert probabilities.shape == (len(data[0]), 3)


def test_it_works_in_a_grid_search_of_a_pipeline(data, quick):
    pipeline = Pipeline([("pictures", ImageClassifier())])
    search = GridSearchCV(pipeline, {"pictures__seed": [0, 1]}, cv=2).fit(*data)
    assert search.best_score_ > 0.8 and set(search.best_params_) == {"pictures__seed"}
    assert search.predict(data[0][:2]).shape == (2,)


# --- with the real pipeline -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of our own when the suite has not set one."""
    with pytest.MonkeyPatch.context() as patch:
        if "HEADSTART_CACHE" not in os.environ:
            patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_the_whole_of_it(data, cache):
    X, y = data
    y = [list(COLOURS).index(name) for name in y]
    classifier = ImageClassifier().fit(X, y, groups=[i // 2 for i in range(len(X))])
    assert classifier.score(X, y) > 0.9 and classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.result_["accuracy"]["top1"] > 0.8 and classifier.result_["data"]["groups"] == len(X) // 2
    probabilities = classifier.predict_proba(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), probabilities)
    again = clone(classifier).fit(X, y, groups=[i // 2 for i in range(len(X))])
    np.testing.assert_allclose(again.predict_proba(X), probabilities, atol=1e-6)


@pytest.mark.slow
def test_cross_validation_of_the_whole(data, cache):
    assert cross_val_score(ImageClassifier(), *data, cv=2).mean() > 0.8
