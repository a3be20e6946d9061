"""Ranks of groups over tasks, and whether they could be luck.

Groups are ranked on each task by the median of their runs, 1 the best, ties shared. Whether ranks differ between groups
is asked over tasks, as in Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006): by
Friedman's test for three groups or more, for pairs by Wilcoxon's signed ranks with Holm's correction.
"""

from dataclasses import dataclass

import numpy as np

from gamesim.comparison.tables import Array, count_of

FEWEST = 6
"""Tasks that a test needs: with one less the smallest p of Wilcoxon's is 2 / 2^5 = 0.0625."""


EXACT = 12
"""Differences up to which all their signs are tried."""


@dataclass(frozen=True)
class RankTest:
    """A test that all groups are alike; p is None where it would say nothing, and `words` says why."""

    name: str
    p: float | None
    words: str


def ranks(medians: Array) -> Array:
    """Ranks [..., group, task] of costs, 1 the least, ties shared."""
    from scipy.stats import rankdata

    found: Array = rankdata(medians, axis=-2)
    return found


def rank_test(medians: Array) -> RankTest:
    """Whether the groups of medians [group, task] differ: Friedman's test, or Wilcoxon's for two groups."""
    groups, tasks = medians.shape
    if groups < 2:
        return RankTest("none", None, "one group: nothing to rank")
    if tasks < FEWEST:
        words = f"no test of ranks: {count_of(tasks, 'task')}, and fewer than {FEWEST} cannot tell"
        return RankTest("none", None, words)
    if groups == 2:
        p = float(pair_tests(medians)[0, 1])
        if np.isnan(p):
            return RankTest("wilcoxon", None, "no test of ranks: the medians are equal on every task")
        return RankTest("wilcoxon", p, f"Wilcoxon's signed ranks over {tasks} tasks: p = {p:.2g}")
    ranked = ranks(medians)
    if (ranked == ranked[0]).all():
        return RankTest("friedman", None, "no test of ranks: the medians are equal on every task")
    from scipy.stats import friedmanchisquare

    p = float(friedmanchisquare(*ranked).pvalue)
    return RankTest("friedman", p, f"Friedman's test over {tasks} tasks, {groups} groups: p = {p:.2g}")


def pair_tests(medians: Array) -> Array:
    """p [group, group] of Wilcoxon's test for each pair, after Holm; NaN where it says nothing."""
    groups, tasks = medians.shape
    found = np.full((groups, groups), np.nan)
    if tasks < FEWEST or groups < 2:
        return found
    pairs, values = list[tuple[int, int]](), list[float]()
    for i in range(groups):
        for j in range(i):
            differences = _differences(medians[i], medians[j])
            if differences.any():
                pairs.append((i, j))
                values.append(signed_ranks(differences))
    for (i, j), p in zip(pairs, holm(values), strict=True):
        found[i, j] = found[j, i] = p
    return found


def signed_ranks(differences: Array) -> float:
    """p of Wilcoxon's test that differences are as often above 0 as below; exact up to 12 of them, ties or not.

    >>> signed_ranks(np.array([1.0, 1.0, 2.0, 3.0, 3.0, 4.0])) == 2 / 2**6
    True
    """
    from scipy.stats import rankdata, wilcoxon

    differences = differences[differences != 0]
    n = len(differences)
    if n > EXACT:
        return float(wilcoxon(differences, method="asymptotic").pvalue)
    sizes = rankdata(np.abs(differences))
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    return float(np.mean(np.abs(signs @ sizes) >= abs(np.sign(differences) @ sizes) - 1e-9))


def holm(values: list[float]) -> list[float]:
    """p of several tests after Holm's correction.

    >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    steps = np.array(values)[order] * np.arange(len(values), 0, -1)
    out = np.empty(len(values))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(values) else steps
    return [float(p) for p in out]


def _differences(a: Array, b: Array) -> Array:
    """Of medians that may be infinite: two of these are alike, one against a number is the largest of differences."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.where(a == b, 0.0, a - b)
    sizes = np.abs(found[np.isfinite(found)])
    return np.nan_to_num(found, posinf=2 * sizes.max(initial=1), neginf=-2 * sizes.max(initial=1))
