"""ImageClassifier: the scikit-learn face of `fit`, on lists of pictures."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from headstart.artefact import pack, unpack
from headstart.classifier.classifier import Classifier, is_many
from headstart.clock import Clock
from headstart.config import FitConfig, seconds_of, steps_of
from headstart.data.samples import from_lists
from headstart.pipeline import train as train_on
from headstart.progress import Silent
from headstart.run import open_run


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Transfer learning as a scikit-learn classifier; X is a list of pictures (paths, bytes of files, or arrays).

    Parameters: `backbone` (see `headstart.backbones()`), `budget` (time for trying more training than a head: seconds,
    or "5m"; None: five minutes), `train` ("head" or "auto"), `seed`, `out` (folder of the run; None keeps no files).
    After `fit`: `classes_`, `classifier_` (a `headstart.Classifier`, class names as text) and `result_` (the run's
    result.json).
    Pickling carries the files of the classifier, which are checked when they come back.
    """

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        budget: str | float | None = None,
        train: str = "head",
        seed: int = 0,
        out: str | Path | None = None,
    ) -> None:
        self.backbone = backbone
        self.budget = budget
        self.train = train
        self.seed = seed
        self.out = out

    def fit(self, X: Sequence[Any] | NDArray[Any], y: Sequence[Any], groups: Sequence[Any] | None = None) -> Any:
        """Train on pictures X with labels y; pictures of one group never straddle the inner folds.

        Unreadable pictures are left out and listed in `result_`. DataError (which see) when nothing can be learned,
        ValueError when X, y and groups do not fit together.
        """
        sources, labels = _pictures(X), column_or_1d(y)
        check_consistent_length(sources, labels, groups)
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise ValueError("y contains NaN or infinity")
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        names = _class_names(classes)
        samples = from_lists(sources, [names[code] for code in codes], groups)
        budget = "5m" if self.budget is None else self.budget
        with _run_folder(self.out) as folder:
            config = FitConfig(
                out=folder,
                train=self.train,
                backbone=self.backbone,
                budget=seconds_of(budget),
                steps=steps_of(budget),
                seed=self.seed,
                when_exists="overwrite",
            )
            run = train_on(samples, config, open_run(folder, config.when_exists), Silent(), Clock())
            self.result_ = run.result()
            self.classifier_ = Classifier.load(run.classifier)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64]:
        """Calibrated probabilities (n, K), columns in the order of `classes_`; DataError for an unreadable picture."""
        check_is_fitted(self, "classifier_")
        columns = [self.classifier_.classes.index(name) for name in _class_names(self.classes_)]
        probabilities = self.classifier_.predict_proba(_pictures(X)).astype(np.float64)[:, columns]
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def predict(self, X: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
        """The likeliest class of each picture, (n,), of the type that y had."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "classifier_" in state:
            state["classifier_"] = pack(state["classifier_"].artefact)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "classifier_" in state:
            state = {**state, "classifier_": Classifier(unpack(state["classifier_"], "the pickled ImageClassifier"))}
        super().__setstate__(state)


def _pictures(X: Any) -> list[Any]:
    if not is_many(X):
        raise ValueError("X is one picture: give a list of pictures, or an array (n, height, width, 3)")
    return list(X)


def _class_names(classes: NDArray[Any]) -> list[str]:
    """Labels as the text that the classifier stores; ValueError when two labels become one."""
    names = [unicodedata.normalize("NFC", str(label)) for label in classes]
    if len(set(names)) < len(names):
        raise ValueError("two labels look the same as text: rename one of them")
    return names


@contextmanager
def _run_folder(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        yield Path(folder) / "run"
