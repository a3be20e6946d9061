"""The stratified bootstrap: seeds are drawn anew within each task, tasks stay.

A resample of n sorted values is how often each of them was drawn: n counts with sum n. Every statistic here is a
function of the sorted values and of such counts, for all resamples at once; with counts of one it is the statistic of
the sample itself. So nothing is sorted or gathered again, and there is no loop over resamples. Values may end in
infinities (runs that diverged): a statistic that gives one of them weight is infinite.

Source: Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep reinforcement learning at the edge of the statistical
precipice", NeurIPS 2021 (interquartile mean, bootstrap over seeds within tasks, probability of improvement).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from gamesim.comparison.tables import Array

Counts = NDArray[np.int64]


def generator_of(seed: int, *names: str) -> np.random.Generator:
    """A stream for each seed and name: what a group draws does not depend on whom it is compared with."""
    words = np.frombuffer(hashlib.sha256("\0".join(names).encode()).digest(), np.uint32)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words.tolist()])))


def draw_counts(generator: np.random.Generator, n: int, resamples: int) -> Counts:
    """counts[resample, n] of n draws out of n; the next call goes on where this one ended."""
    drawn = (generator.random((resamples, n)) * n).astype(np.int64)
    drawn += np.arange(resamples)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)


def weighted(values: Array, weights: Array | Counts) -> Array:
    """Sums [...] of sorted values [n] with weights [..., n]; infinite where an infinite value has weight."""
    finite = int(np.searchsorted(values, np.inf))
    with np.errstate(over="ignore", invalid="ignore"):
        sums: Array = weights[..., :finite] @ values[:finite]
    return np.where(weights[..., finite:].sum(-1) > 0, np.inf, sums)


def mean(values: Array, counts: Counts) -> Array:
    return weighted(values, counts / values.size)


def interquartile_mean(values: Array, counts: Counts) -> Array:
    """The mean of the middle half: the lowest and the highest n // 4 of the n values are left out.

    >>> float(interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0]), np.ones(4, int)))
    1.5
    """
    n = values.size
    cut = n // 4
    kept = np.diff(np.cumsum(counts, -1).clip(cut, n - cut), axis=-1, prepend=cut)
    return weighted(values, kept / (n - 2 * cut))


def quantile(values: Array, counts: Counts, q: float) -> Array:
    """Quantiles between which one interpolates linearly, as NumPy does; infinite where an infinite value is met."""
    upto = np.cumsum(counts, -1)
    place = (values.size - 1) * q
    low = int(place)
    below: Array = values[(upto <= low).sum(-1)]
    if place == low:
        return below
    above = values[(upto <= low + 1).sum(-1)]
    return _between(below, above, place - low)


def share_below(values: Array, counts: Counts, thresholds: Array) -> Array:
    """The share [..., threshold] of values that are at most a threshold."""
    upto = np.concatenate([np.zeros((*counts.shape[:-1], 1), np.int64), np.cumsum(counts, -1)], -1)
    shares: Array = upto[..., np.searchsorted(values, thresholds, side="right")] / values.size
    return shares


def probability_below(x: Array, of_x: Counts, y: Array, of_y: Counts) -> Array:
    """P(X < Y) + P(X = Y) / 2 for one of x and one of y: the statistic of Mann and Whitney over its largest value."""
    upto = np.concatenate([np.zeros((*of_y.shape[:-1], 1), np.int64), np.cumsum(of_y, -1)], -1)
    not_above = upto[..., np.searchsorted(y, x, side="left")] + upto[..., np.searchsorted(y, x, side="right")]
    found: Array = (of_x * (1 - not_above / (2 * y.size))).sum(-1) / x.size
    return found


def percentile(samples: Array, q: float) -> Array:
    """Quantiles over the first dimension, of samples some of which may be infinite."""
    ordered = np.sort(samples, axis=0)
    place = (len(samples) - 1) * q
    low = int(place)
    return ordered[low] if place == low else _between(ordered[low], ordered[low + 1], place - low)


def _between(low: Array, high: Array, share: float) -> Array:
    """A point inside an interval, infinite if an end is."""
    with np.errstate(invalid="ignore", over="ignore"):
        inside = low + (high - low) * share
    return np.where(np.isinf(high), high, np.where(np.isinf(low), low, inside))
