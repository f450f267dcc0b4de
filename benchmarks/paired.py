"""Two classifiers on the same pictures: the difference, its standard error, and how sure it is."""

import numpy as np
from numpy.random import default_rng


def difference(ours, theirs):
    """Mean of (right or wrong, ours) - (theirs) over pictures, and its paired standard error; fractions."""
    d = np.asarray(ours, float) - np.asarray(theirs, float)
    return float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))


def pooled(differences, draws=20_000, seed=0):
    """Gain over several sets: all pictures together, and the mean over sets.

    `differences`: per set one array of -1, 0, 1. Bootstrap over pictures within each set. P is the share of draws above
    zero, half of those at zero.
    """
    rng = default_rng(seed)
    sizes = np.array([len(d) for d in differences])
    means = np.column_stack([_resampled_means(np.asarray(d), draws, rng) for d in differences])
    ways = {"pictures": sizes / sizes.sum(), "sets": np.full(len(sizes), 1 / len(sizes))}
    point = np.array([np.mean(d) for d in differences])
    return {name: {"gain": float(point @ w), **interval(means @ w)} for name, w in ways.items()}


def interval(values):
    """95 % interval of bootstrap values and the probability that the true value is above zero."""
    low, high = np.quantile(values, [0.025, 0.975])
    above = np.mean(values > 1e-12) + 0.5 * np.mean(np.abs(values) <= 1e-12)
    return {"low": float(low), "high": float(high), "p": float(above)}


def _resampled_means(d, draws, rng):
    """Bootstrap means of values in -1, 0, 1: their counts are multinomial, so no resampling loop is needed."""
    shares = [np.mean(d == v) for v in (-1, 0, 1)]
    counts = rng.multinomial(len(d), shares, size=draws)
    return (counts[:, 2] - counts[:, 0]) / len(d)
