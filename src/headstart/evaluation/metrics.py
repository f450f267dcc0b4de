"""Metrics on logits, probabilities and labels. Fractions 0..1; natural logarithms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.predictions import blocks, softmax

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

TINY = 1e-12


def top1(logits: FloatArray, labels: IntArray) -> float:
    """Share of rows whose largest logit (or probability) is the true class."""
    _check(logits, labels)
    return float(np.mean(logits.argmax(axis=1) == labels))


def balanced(logits: FloatArray, labels: IntArray) -> float:
    """Mean over the classes present in `labels` of the share found."""
    _check(logits, labels)
    correct = logits.argmax(axis=1) == labels
    counts = np.bincount(labels)
    found = np.bincount(labels, weights=correct)
    present = counts > 0
    return float(np.mean(found[present] / counts[present]))


def nll(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood in nats of `logits / temperature`; finite for finite logits."""
    return float(np.mean(row_nll(logits, labels, temperature)))


def row_nll(logits: FloatArray, labels: IntArray, temperature: float = 1.0) -> FloatArray:
    """Negative log-likelihood of every row `(n,)`."""
    _check(logits, labels)
    return np.concatenate([_row_nll(logits[rows], labels[rows], temperature) for rows in blocks(*logits.shape)])


def _row_nll(logits: FloatArray, labels: IntArray, temperature: float) -> FloatArray:
    scaled = np.asarray(logits, np.float64) / temperature
    top = scaled.max(axis=1, keepdims=True)
    total = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
    losses: FloatArray = total - scaled[np.arange(len(labels)), labels]
    return losses


def brier(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean squared distance of the probability rows from the one-hot truth, 0..2 (Brier 1950)."""
    _check(probabilities, labels)
    error = np.array(probabilities, np.float64)
    error[np.arange(len(labels)), labels] -= 1.0
    return float(np.mean((error**2).sum(axis=1)))


def ece(confidence: FloatArray, correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error, equal-width bins (Guo 2017); too high on small data.

    `confidence` `(n,)`: probability of the predicted class; `correct` `(n,)`: whether it is the true one.
    """
    if confidence.shape != correct.shape or confidence.ndim != 1 or len(correct) == 0:
        raise ValueError(
            f"expected (n,) confidences and whether they are right, not {confidence.shape}, {correct.shape}"
        )
    which = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(which, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(correct))


def confusion(logits: FloatArray, labels: IntArray) -> IntArray:
    """Counts `(K, K)`: rows are true classes, columns what was predicted."""
    _check(logits, labels)
    k = logits.shape[1]
    flat = np.bincount(labels * k + logits.argmax(axis=1), minlength=k * k)
    return flat.reshape(k, k)


def probabilities_of(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Softmax of `logits / temperature`, `(n, K)`."""
    return softmax(logits, temperature)


def majority_share(labels: IntArray) -> float:
    """The baseline: accuracy of always saying the most frequent class."""
    return float(np.bincount(labels).max() / len(labels))


def _check(scores: FloatArray, labels: IntArray) -> None:
    if scores.ndim != 2 or labels.shape != (len(scores),) or len(labels) == 0:
        raise ValueError(f"expected (n, K) scores and (n,) labels with n > 0, not {scores.shape} and {labels.shape}")
