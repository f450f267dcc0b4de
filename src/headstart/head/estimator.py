"""HeadClassifier: the heads of this package as a scikit-learn estimator on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from headstart.evaluation.metrics import row_nll
from headstart.head.columns import columns_of
from headstart.head.linear import LinearHead
from headstart.head.logistic import FINAL_TOLERANCE, PATH_TOLERANCE, Point, fit_logistic, problem_of
from headstart.head.parallel import calm
from headstart.head.space import Space, open_space
from headstart.predictions import softmax

if TYPE_CHECKING:
    from sklearn.utils import Tags

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
UNCHOSEN = 0.1  # where a class is too small to cross-validate
FOLDS = 5
ROTATE_FROM = 8


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Standardised multinomial logistic regression; `penalty="auto"` is chosen by five folds, or give a number > 0.

    The penalty is in mean form: `LogisticRegression(C=1 / (n * penalty))` after a `StandardScaler` has this optimum.
    Fitted: `classes_`, `penalty_`, `head_` (a `LinearHead`), `n_features_in_`. Dense input only.
    """

    def __init__(self, penalty: float | str = "auto", seed: int = 0) -> None:
        self.penalty = penalty
        self.seed = seed

    def fit(self, X: Any, y: Any) -> HeadClassifier:
        """Fit on features `(n, d)` and labels `(n,)` of at least two classes."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"at least two classes are needed, the labels hold one class: {self.classes_[0]!r}")
        if self.penalty != "auto" and not (isinstance(self.penalty, (int, float)) and self.penalty > 0):
            raise ValueError(f'penalty must be "auto" or a number above 0, not {self.penalty!r}')
        with calm(X.size):
            self.penalty_ = self._choose(X, labels) if self.penalty == "auto" else float(self.penalty)
            space = self._space(X, np.arange(len(X)))
            problem = problem_of(space, labels, len(self.classes_))
            self.head_: LinearHead = space.head(*fit_logistic(problem, self.penalty_, None, FINAL_TOLERANCE).pair())
        return self

    def decision_function(self, X: Any) -> FloatArray:
        """Logits `(n, K)`; for two classes the difference `(n,)`, as scikit-learn wants it."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities `(n, K)` in the order of `classes_`."""
        return softmax(self._logits(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of every row."""
        logits = self._logits(X)
        chosen: NDArray[Any] = self.classes_[logits.argmax(axis=1)]
        return chosen

    def _logits(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        weights, bias = self.head_.folded()
        logits: FloatArray = (X - self.head_.mean) @ weights.T + (bias + weights @ self.head_.mean)
        return logits

    def _choose(self, X: FloatArray, labels: IntArray) -> float:
        smallest = int(np.bincount(labels).min())
        if smallest < 2:
            return UNCHOSEN
        folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=self.seed)
        losses = np.zeros(len(PENALTIES))
        for train, held in folds.split(X, labels):
            space = self._space(X, train)
            problem = problem_of(space, labels[train], len(self.classes_))
            outside = space.project(held)
            point: Point | None = None
            for at, penalty in enumerate(PENALTIES):
                point = fit_logistic(problem, penalty, point, PATH_TOLERANCE)
                weights, bias = point.pair()
                losses[at] += row_nll(outside @ weights + bias, labels[held]).sum()
        return PENALTIES[int(losses.argmin())]

    def _space(self, X: FloatArray, rows: IntArray) -> Space:
        columns = columns_of([X])
        return open_space(columns, rows, np.ones(columns.d), len(self.classes_) >= ROTATE_FROM)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
