"""Multinomial logistic regression on more rows than memory holds: mini-batches, all folds and penalties in one pass.

Every fold's model and the one on everything stand side by side, so a pass reads each row once and costs a matrix
product more. The step is the gradient times the inverse of Boehning's curvature bound (1992), known exactly from the
sums of the closed forms, with heavy-ball momentum (Polyak 1964): stable without a learning rate to tune. What counts is
the average of a pass's iterates (Polyak and Juditsky 1992), judged on held-out rows while the next pass trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.metrics import row_nll
from headstart.head.linear import LinearHead
from headstart.head.ridge import DepthSet
from headstart.head.streamed import Block, FoldSums

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

EPOCHS = 20
BOUND = 0.5  # of Boehning, times the covariance
MOMENTUM = 0.9
SMALLEST, LARGEST = 512, 4096  # rows of a mini-batch
STEPS = 32  # per pass that small sets get, unless their batch would be below the smallest
GAIN = 1e-3  # share of the held-out log-loss by which a pass must be better, or it is the last

Shuffled = Callable[[int, int], Iterable[Block]]  # (epoch, rows of a batch) -> every row once, in another order


@dataclass(frozen=True)
class StreamedLogistic:
    """One head per fold, the head on everything, the penalty, the held-out log-loss, and passes that were made.

    `gained`: whether it is better than what it started from.
    """

    heads: tuple[LinearHead, ...]
    final: LinearHead
    penalty: float
    nll: float
    epochs: int
    gained: bool


def batch_rows(n: int) -> int:
    """Rows of a mini-batch for n rows."""
    return int(min(LARGEST, max(SMALLEST, n // STEPS)))


def fit_streamed_logistic(
    passes: Shuffled, sums: FoldSums, depth_set: DepthSet, start: Sequence[LinearHead], penalties: Sequence[float]
) -> StreamedLogistic:
    """From `start` (a head per fold, the last one of everything; logits of a calibrated head) to the optimum.

    Minimises mean log-loss + penalty / 2 |W|^2 on columns standardised by all rows. Stops when the held-out log-loss
    of the best penalty gets no better, at most after EPOCHS passes.
    """
    state = _State(sums, depth_set, start, penalties)
    best, best_nll, at, gained, epoch = state.average.copy(), np.inf, 0, False, 0
    for epoch in range(EPOCHS):
        judged = state.average.copy()
        nll = state.one_pass(passes(epoch, batch_rows(sums.n)))
        here = int(np.argmin(np.where(np.isfinite(nll), nll, np.inf)))
        if not nll[here] < best_nll * (1.0 - (GAIN if epoch else 0.0)):
            if nll[here] < best_nll:
                best, best_nll, at, gained = judged, float(nll[here]), here, True
            break
        best, best_nll, at, gained = judged, float(nll[here]), here, epoch > 0
    heads = [state.head(best[model, at]) for model in range(len(start))]
    return StreamedLogistic(tuple(heads[:-1]), heads[-1], penalties[at], best_nll, epoch + 1, gained)


class _State:
    """Weights `(models, penalties, K, d + 1)` float32 (bias last), their momentum and this pass's average."""

    def __init__(
        self, sums: FoldSums, depth_set: DepthSet, start: Sequence[LinearHead], penalties: Sequence[float]
    ) -> None:
        chosen, _ = sums.indices(depth_set)
        normal, _ = sums.training(None)
        part = sums.part(normal, depth_set)
        self._depths = depth_set.depths
        self._mean = sums.mean[chosen] + sums.scale[chosen] * part.mean
        self._scale = sums.scale[chosen] * part.scale
        self._penalties = np.asarray(penalties, np.float32)
        eye = np.eye(len(chosen))
        self._inverse = [np.linalg.inv(BOUND * part.covariance + p * eye).astype(np.float32) for p in penalties]
        placed = np.stack([self._placed(head) for head in start]).astype(np.float32)
        self.weights = np.repeat(placed[:, None], len(penalties), axis=1)
        self.average = self.weights.copy()
        self._speed = np.zeros_like(self.weights)

    def _placed(self, head: LinearHead) -> FloatArray:
        """Its weights and bias `(K, d + 1)` on this problem's standardised columns."""
        weights, bias = head.folded()
        return np.concatenate([weights * self._scale, (bias + weights @ self._mean)[:, None]], axis=1)

    def head(self, values: FloatArray) -> LinearHead:
        """Values `(K, d + 1)` as a head."""
        values = values.astype(np.float64)
        return LinearHead(values[:, :-1], values[:, -1], self._mean, self._scale)

    def one_pass(self, batches: Iterable[Block]) -> FloatArray:
        """Train on every batch; the mean held-out log-loss `(penalties,)` of the average that the pass began with."""
        judged, total, steps = self.average, np.zeros_like(self.weights, dtype=np.float64), 0
        losses, rows = np.zeros(len(self._penalties)), 0
        mean, scale = self._mean.astype(np.float32), self._scale.astype(np.float32)
        for batch in batches:
            Z = (batch.wide(self._depths).astype(np.float32) - mean) / scale
            losses += self._losses(Z, batch, judged)
            rows += len(batch)
            self._step(Z, batch)
            total += self.weights
            steps += 1
        self.average = (total / max(1, steps)).astype(np.float32)
        return losses / max(1, rows)

    def _losses(self, Z: FloatArray, batch: Block, values: FloatArray) -> FloatArray:
        found = np.zeros(len(self._penalties))
        for fold in np.unique(batch.folds).tolist():
            rows = np.flatnonzero(batch.folds == fold)
            for at in range(len(found)):
                own = values[fold, at]
                found[at] += row_nll(Z[rows] @ own[:, :-1].T + own[:, -1], batch.labels[rows]).sum()
        return found

    def _step(self, Z: FloatArray, batch: Block) -> None:
        """One step of every model on the rows that it may see."""
        models, penalties, k, _ = self.weights.shape
        flat = self.weights.reshape(models * penalties * k, -1)
        residual = (Z @ flat[:, :-1].T + flat[:, -1]).reshape(len(Z), models, penalties, k)
        residual -= residual.max(axis=3, keepdims=True)
        np.exp(residual, out=residual)
        residual /= residual.sum(axis=3, keepdims=True)
        residual[np.arange(len(Z)), :, :, batch.labels] -= 1.0
        seen = batch.folds[:, None] != np.arange(models)  # the last model, on everything, is no fold's
        residual *= (seen / np.maximum(seen.sum(axis=0), 1)).astype(np.float32)[:, :, None, None]
        slopes = (residual.reshape(len(Z), -1).T @ Z).reshape(models, penalties, k, -1)
        slopes += self._penalties[:, None, None] * self.weights[..., :-1]
        self._speed *= MOMENTUM
        for at, inverse in enumerate(self._inverse):
            self._speed[:, at, :, :-1] += slopes[:, at] @ inverse
        self._speed[..., -1] += residual.sum(axis=0) / BOUND
        self.weights -= self._speed
