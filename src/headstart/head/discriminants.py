"""Linear discriminants with shrinkage: within-class covariance plus penalty, whichever way is shorter.

With T the cross-covariance of features and targets, S the covariance, P the priors on a diagonal and
H = T' (S + penalty)^-1 T, Woodbury's identity gives the weights (S - T P^-1 T' + penalty)^-1 T P^-1 as the ridge
weights times (P - H)^-1 (penalised discriminant analysis, Hastie 1995). The first solves as many unknowns as there are
features, the second, which has the ridge weights already, as many as there are classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.head.systems import solutions

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Form:
    """What turns centred ridge scores into the logits of a kind; `between` is H of the module's docstring."""

    priors: FloatArray
    between: FloatArray
    n: int

    def turn(self, kind: str) -> tuple[FloatArray, FloatArray]:
        """Matrix `(K, K)` and bias `(K,)`."""
        if kind == "ridge":
            return np.eye(len(self.priors)), self.priors
        priors = present(self.priors, self.n)
        turn = np.linalg.inv(np.diag(priors) - 0.5 * (self.between + self.between.T))
        own = np.einsum("ij,ji->i", self.between, turn) / priors
        return turn, np.log(priors) - 0.5 * own

    def logits(self, scores: FloatArray, kind: str) -> FloatArray:
        """Logits of a kind from centred ridge scores `(m, K)`."""
        matrix, bias = self.turn(kind)
        return scores + bias if kind == "ridge" else scores @ matrix + bias


def direct(
    covariance: FloatArray, cross: FloatArray, priors: FloatArray, n: int, penalties: Sequence[float]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Weights `(d, K)` and bias `(K,)` on centred features for each penalty, without the ridge weights.

    `covariance` `(d, d)`, `cross` `(d, K)` and `priors` `(K,)` are those of `n` training rows.
    """
    priors = present(priors, n)
    means = cross / priors
    for weights in solutions(covariance - means @ cross.T, means, penalties):
        yield weights, np.log(priors) - 0.5 * np.einsum("dk,dk->k", means, weights)


def present(priors: FloatArray, n: int) -> FloatArray:
    """A class with no training row has neither mean nor prior: half a row stands in, its weights stay zero."""
    return np.maximum(priors, 0.5 / n)
