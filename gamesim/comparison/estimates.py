"""Estimates of a comparison: every statistic of the samples themselves, and the same of their resamples.

Statistics are over costs; those over all tasks are over the shared ones, which every group has run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gamesim.comparison.ranking import ranks
from gamesim.comparison.resampling import (
    Counts,
    draw_counts,
    generator_of,
    interquartile_mean,
    mean,
    probability_below,
    quantile,
    share_below,
)
from gamesim.comparison.samples import Samples
from gamesim.comparison.tables import Array

BLOCK = 2_000_000
"""Numbers that are drawn at once."""
STEPS = 200
"""Thresholds of a profile."""
FLOOR = 1e-17
"""Where a distance of exactly 0 stands on a log scale."""

Statistics = dict[tuple[Any, ...], Array]
"""By name and group (or two groups): [resample] or [resample, task or threshold]."""


def thresholds(samples: Samples, shared: Sequence[int]) -> Array:
    """Costs at which profiles are read: evenly in logarithms where all are distances, from the least to the largest."""
    pooled = np.concatenate([costs[t] for costs in samples.costs for t in shared])
    pooled = pooled[np.isfinite(pooled)]
    if not len(pooled):
        return np.array([0.0])
    low, high = float(pooled.min()), float(pooled.max())
    if samples.rises or low < 0 or not (pooled > FLOOR).any():
        return np.unique(low + (high - low) * np.linspace(0, 1, STEPS) if np.isfinite(high - low) else [low, high])
    low = max(low, FLOOR)
    found = np.logspace(np.log10(low), np.log10(high), STEPS)
    found[0], found[-1] = low, high  # the largest of all is reached, whatever the rounding
    return np.unique(found)


def statistics_of(
    samples: Samples, shared: Sequence[int], taus: Array, limit: float | None, counts: Sequence[Sequence[Counts]]
) -> Statistics:
    """Every statistic for counts[group][task][resample, run]: of the sample itself where all counts are one."""
    found: Statistics = {}
    groups = range(len(samples.groups))
    empty = np.full(len(counts[0][shared[0]]), np.nan)
    for g in groups:
        costs = samples.costs[g]
        pooled = np.concatenate([costs[t] for t in shared])
        order = np.argsort(pooled, kind="stable")
        pooled, drawn = pooled[order], np.concatenate([counts[g][t] for t in shared], -1)[:, order]
        found["iqm", g] = interquartile_mean(pooled, drawn)
        for name, q in (("low", 0.25), ("middle", 0.5), ("high", 0.75)):
            found[name, g] = quantile(pooled, drawn, q)
        found["mean", g] = np.mean([mean(costs[t], counts[g][t]) for t in shared], axis=0)
        found["profile", g] = share_below(pooled, drawn, taus)
        if limit is not None:
            found["gap", g] = mean(pooled.clip(min=limit), drawn) - limit
            found["reached", g] = share_below(pooled, drawn, np.array([limit]))[:, 0]
        for name, statistic in (("median", _median), ("task iqm", interquartile_mean), ("task mean", mean)):
            of_tasks = [statistic(x, c) if len(x) else empty for x, c in zip(costs, counts[g], strict=True)]
            found[name, g] = np.stack(of_tasks, -1)
    ranked = ranks(np.stack([found["median", g][:, shared] for g in groups], 1)).mean(-1)
    for g in groups:
        found["rank", g] = ranked[:, g]
        for other in range(g):
            each = [
                probability_below(samples.costs[g][t], counts[g][t], samples.costs[other][t], counts[other][t])
                for t in shared
            ]
            found["below", g, other] = np.mean(each, axis=0)
            found["below", other, g] = 1 - found["below", g, other]
    return found


def _median(values: Array, counts: Counts) -> Array:
    return quantile(values, counts, 0.5)


def resampled(
    samples: Samples, shared: Sequence[int], taus: Array, limit: float | None, resamples: int, seed: int
) -> Statistics:
    """The same for resamples, in blocks that bound the memory; the numbers do not depend on the size of a block."""
    generators = [[generator_of(seed, group, task) for task in samples.tasks] for group in samples.groups]
    width = max(sum(len(x) for costs in samples.costs for x in costs), len(taus))
    block = max(1, min(resamples, BLOCK // width))
    blocks = list[Statistics]()
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = [
            [draw_counts(generator, len(x), size) for generator, x in zip(own, costs, strict=True)]
            for own, costs in zip(generators, samples.costs, strict=True)
        ]
        blocks.append(statistics_of(samples, shared, taus, limit, drawn))
    return {key: np.concatenate([found[key] for found in blocks]) for key in blocks[0]}
