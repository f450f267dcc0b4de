"""scikit-learn's answer to what the probe computes: out-of-fold classes of one head, standardised inside every fold."""

import warnings

import numpy as np


def predict(X, labels, folds, kind, penalty, factors):
    """Classes `(n,)` predicted for held-out rows, -1 where a row is never held out.

    `factors` `(d,)` multiply the standardised features. headstart's penalties are per row: C = 1 / (n penalty),
    alpha = n penalty; discriminants add the penalty to the within-class covariance.
    """
    from sklearn.preprocessing import StandardScaler

    predicted = np.full(len(labels), -1)
    for fold in np.unique(folds[folds >= 0]):
        held = folds == fold
        scaler = StandardScaler().fit(X[~held].astype(np.float64))
        train, test = (scaler.transform(X[rows].astype(np.float64)) * factors for rows in (~held, held))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted[held] = _model(kind, penalty, len(train)).fit(train, labels[~held]).predict(test)
    return predicted


def _model(kind, penalty, n):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    if kind == "logistic":
        return LogisticRegression(C=1 / (n * penalty), max_iter=5000)
    if kind == "ridge":
        return RidgeClassifier(alpha=n * penalty)
    return LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=_Shrunk(penalty))


class _Shrunk:
    """Covariance of one class with the penalty on its diagonal; the discriminants average it over classes."""

    def __init__(self, penalty):
        self.penalty = penalty

    def fit(self, X):
        centred = X - X.mean(axis=0)
        self.covariance_ = centred.T @ centred / len(X)
        self.covariance_[np.diag_indices(X.shape[1])] += self.penalty
        return self
