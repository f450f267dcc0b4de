"""Many rows are worked on in pieces: the same numbers, without a second copy of them."""

from __future__ import annotations

import numpy as np
import pytest

from headstart import predictions
from headstart.evaluation.coverage import coverage, reliability
from headstart.evaluation.metrics import row_nll
from headstart.evaluation.suspects import label_noise, likely_labels, suspected
from headstart.predictions import Predictions, blocks, probability_of, softmax, taken


def drawn(n: int = 600, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)).astype(np.float32)
    logits[np.arange(n), labels] += 3
    labels[:15] = (labels[:15] + 1) % k
    return logits, labels


def figures(logits: np.ndarray, labels: np.ndarray) -> dict[str, object]:
    made = Predictions(logits, labels, tuple("abcdef" * 100), tuple("1234567"))
    confidence = made.confidence(1.5)
    return {
        "losses": row_nll(logits, labels, 1.5),
        "probabilities": softmax(logits, 1.5),
        "confidence": confidence,
        "of labels": probability_of(logits, labels, 1.5),
        "likely": likely_labels(logits, labels),
        "chances": label_noise(logits, labels, 1.5).chances,
        "named": suspected(logits, labels, 1.5),
        "coverage": [row["coverage"] for row in coverage(confidence, made.correct)],
        "reliability": [row["confidence"] for row in reliability(confidence, made.correct)],
    }


def test_probabilities_of_one_class_per_row_are_those_of_all() -> None:
    logits, labels = drawn()
    every = softmax(logits, 1.5)
    made = figures(logits, labels)
    np.testing.assert_array_equal(made["of labels"], every[np.arange(len(labels)), labels])
    np.testing.assert_array_equal(made["confidence"], every.max(axis=1))
    assert len(probability_of(logits[:0], labels[:0])) == 0


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = drawn()
    whole = figures(logits, labels)
    assert len(whole["named"]) > 5
    monkeypatch.setattr(predictions, "MOST_CELLS", 100)
    pieces = figures(logits, labels)
    assert whole["probabilities"].dtype == np.float64 and pieces["probabilities"].dtype == np.float32
    for name, value in whole.items():
        np.testing.assert_allclose(pieces[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_blocks_cover_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST_CELLS", 10)
    for n, width in ((7, 3), (7, 30), (7, 1), (1, 1), (0, 4)):
        rows = [row for part in blocks(n, width) for row in range(part.start, part.stop)]
        assert rows == list(range(n))


def test_all_rows_are_not_copied() -> None:
    array = np.arange(12.0).reshape(4, 3)
    assert taken(array, np.ones(4, bool)) is array
    np.testing.assert_array_equal(taken(array, np.array([True, False, True, False])), array[[0, 2]])


def test_confidences_are_worked_out_once_per_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four figures of a result ask for them, over all classes of all pictures."""
    logits, labels = drawn()
    made = Predictions(logits, labels, tuple("abcdef" * 100), tuple("1234567"))
    asked: list[float] = []

    def counted(logits, classes, temperature):
        asked.append(temperature)
        return probability_of(logits, classes, temperature)

    monkeypatch.setattr(predictions, "probability_of", counted)
    first = [made.confidence(t).copy() for t in (1.0, 1.5)]
    again = [made.confidence(t) for t in (1.0, 1.5)]
    np.testing.assert_array_equal(first, again)
    assert asked == [1.0, 1.5] and (first[0] > first[1]).all()
