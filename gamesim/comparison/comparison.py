"""Groups of runs compared: aggregates with intervals, ranks, probabilities of improvement, performance profiles.

In the manner of rliable (Agarwal et al., NeurIPS 2021): the interquartile mean, the optimality gap and the profile are
over all runs of all tasks, the mean is of task means, the probability that X is better than Y is the mean over tasks of
P(X_t < Y_t) + P(X_t = Y_t) / 2, and intervals are percentiles of the stratified bootstrap. Here less is better unless
the metric rises, and the median is of all runs (rliable's is of task means).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gamesim.comparison.ranking import RankTest, pair_tests, rank_test, ranks
from gamesim.comparison.resampling import (
    Counts,
    draw_counts,
    generator_of,
    interquartile_mean,
    mean,
    percentile,
    probability_below,
    quantile,
    share_below,
)
from gamesim.comparison.samples import At, Samples, arrange
from gamesim.comparison.tables import Array, read_table
from gamesim.errors import MissingExtra, refuse

Part = Literal["groups", "tasks", "improvement", "ranks", "profile", "curves"]
PARTS: tuple[Part, ...] = ("groups", "tasks", "improvement", "ranks", "profile", "curves")
Rows = list[dict[str, Any]]

BLOCK = 2_000_000
"""Numbers that are drawn at once."""
STEPS = 200
"""Thresholds of a profile."""
FLOOR = 1e-17
"""Where a distance of exactly 0 stands on a log scale."""


@dataclass(frozen=True)
class Comparison:
    """What was found, as tidy tables; low and high are ends of intervals, None where there are none."""

    metric: str
    rises: bool
    at: At
    by: tuple[str, ...]
    names: tuple[str, ...]
    """The groups, in order of appearance."""
    tasks: tuple[str, ...]
    shared: tuple[str, ...]
    """The tasks that every group has run: aggregates, ranks, probabilities and profiles are over these."""
    confidence: float
    resamples: int
    seed: int
    threshold: float | None
    test: RankTest
    tables: Mapping[Part, Rows]
    notes: tuple[str, ...]

    def table(self, part: Part = "groups") -> Rows:
        """Tidy rows of one part: groups, tasks, improvement, ranks, profile or curves."""
        if part not in self.tables:
            raise refuse("part", part, f"one of {', '.join(PARTS)}")
        return self.tables[part]

    def frame(self, part: Part = "groups") -> Any:
        """The same as a pandas.DataFrame."""
        try:
            import pandas
        except ModuleNotFoundError:
            raise MissingExtra("frame() needs pandas: pip install 'gamesim[data]'") from None
        return pandas.DataFrame(self.table(part))

    def plain(self) -> dict[str, Any]:
        """As JSON, without profile and curves, which files have."""
        return {
            "metric": self.metric,
            "better": "more" if self.rises else "less",
            "at": self.at,
            "by": list(self.by),
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
            "threshold": self.threshold,
            "tasks": list(self.shared),
            "groups": self.tables["groups"],
            "by_task": self.tables["tasks"],
            "improvement": self.tables["improvement"],
            "ranks": self.tables["ranks"],
            "test": {"name": self.test.name, "p": self.test.p, "words": self.test.words},
            "notes": list(self.notes),
        }


def compare(
    *what: Any,
    metric: str | None = None,
    by: str | Sequence[str] | None = None,
    pool: str | Sequence[str] = (),
    at: At = "last",
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    threshold: float | None = None,
) -> Comparison:
    """Compare groups of runs over tasks, in the manner of rliable.

    what: folders of sweeps and runs, tables in CSV or Parquet, or a mapping of names to Results. metric: exploitability
    unless given. by: the columns that make groups, by default the solver with those of its parameters that vary; tasks
    are the rest of the configuration. pool: columns in which the runs of a task may differ, as they do in seeds.
    at: the last measure of each run, its best, or that of an iteration. resamples, seed: of the bootstrap. threshold: a
    value that counts as good enough, for optimality gap and share of runs.

    >>> from gamesim.comparison import Run, Table, compare
    >>> import numpy as np
    >>> at = np.array([10])
    >>> runs = [Run({"solver": name}, s, "", {"regret": (at, np.array([shift + s]))})
    ...         for name, shift in (("a", 0.0), ("b", 4.0)) for s in range(8)]
    >>> found = compare(Table(("solver",), tuple(runs)))
    >>> [(row["group"], row["iqm"], row["rank"]) for row in found.table()]
    [('a', 3.5, 1.0), ('b', 7.5, 2.0)]
    """
    _require(at, confidence, resamples, seed, threshold)
    columns = None if by is None else _names(by)
    samples = arrange(read_table(*what), metric, columns, at, _names(pool))
    shared = samples.shared()
    if not shared:
        words = (
            f"columns that leave the groups a task in common: no one has run all of {', '.join(samples.tasks[:3])}"
            f"{', ...' if len(samples.tasks) > 3 else ''}; name more in --by, or --pool some"
        )
        raise refuse("by", ",".join(samples.by), words)
    taus = _thresholds(samples, shared)
    limit = None if threshold is None else samples.sign * threshold
    exact = _statistics(
        samples, shared, taus, limit, [[np.ones_like(x, np.int64)[None] for x in costs] for costs in samples.costs]
    )
    drawn = _resampled(samples, shared, taus, limit, resamples, seed)
    told = _Told(samples, shared, exact, drawn, confidence)
    medians = np.stack([exact["median", g][0, shared] for g in range(len(samples.groups))])
    notes = [*samples.notes]
    if len(shared) > 1 and not samples.rises:
        notes.append("means over tasks take values as they are, so that large ones weigh most; ranks know no scale")
    tables: dict[Part, Rows] = {
        "groups": told.groups(limit is not None),
        "tasks": told.tasks(),
        "improvement": told.improvement(pair_tests(medians)),
        "ranks": told.ranked(medians),
        "profile": told.profile(taus),
        "curves": curves_of(samples),
    }
    return Comparison(
        samples.metric, samples.rises, at, samples.by, samples.groups, samples.tasks,
        tuple(samples.tasks[t] for t in shared), confidence, resamples, seed, threshold, rank_test(medians), tables,
        tuple(notes),
    )  # fmt: skip


def _names(columns: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in columns.split(",")] if isinstance(columns, str) else [*columns]


def _require(at: Any, confidence: Any, resamples: Any, seed: Any, threshold: Any) -> None:
    whole = isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 2**63
    if not whole and at not in ("last", "best"):
        raise refuse("at", at, "last, best, or an iteration")
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        raise refuse("confidence", confidence, "a number between 0 and 1, like 0.95")
    if isinstance(resamples, bool) or not (isinstance(resamples, int) and 100 <= resamples <= 10**6):
        raise refuse("resamples", resamples, "a whole number from 100 to 1000000")
    if isinstance(seed, bool) or not (isinstance(seed, int) and 0 <= seed < 2**63):
        raise refuse("seed", seed, "a whole number of at least 0")
    if threshold is not None and not (isinstance(threshold, int | float) and math.isfinite(threshold)):
        raise refuse("threshold", threshold, "a finite number")


Statistics = dict[tuple[Any, ...], Array]
"""By name and group (or two groups): [resample] or [resample, task or threshold]."""


def _statistics(
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


def _resampled(
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
        blocks.append(_statistics(samples, shared, taus, limit, drawn))
    return {key: np.concatenate([found[key] for found in blocks]) for key in blocks[0]}


@dataclass(frozen=True)
class _Told:
    """Statistics as rows of values with intervals."""

    samples: Samples
    shared: Sequence[int]
    exact: Statistics
    drawn: Statistics
    confidence: float

    def estimate(self, name: str, key: tuple[Any, ...], fuzzy: bool, sign: int = 1, at: Any = ...) -> dict[str, Any]:
        """A number with the ends of its interval; costs become values where sign is -1."""
        value = sign * float(self.exact[key][0][at])
        if not fuzzy:
            return {name: value, f"{name}_low": None, f"{name}_high": None}
        tail = (1 - self.confidence) / 2
        sampled = self.drawn[key][:, at] if at is not ... else self.drawn[key]
        ends = sorted(sign * float(percentile(sampled, q)) for q in (tail, 1 - tail))
        return {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}

    def fuzzy(self, g: int) -> bool:
        """Whether a group has an interval: each task that counts has two runs or more."""
        return all(len(self.samples.costs[g][t]) > 1 for t in self.shared)

    def groups(self, with_threshold: bool) -> Rows:
        samples, sign, rows = self.samples, self.samples.sign, []
        for g, name in enumerate(samples.groups):
            costs = [samples.costs[g][t] for t in self.shared]
            low, high = sorted(sign * float(self.exact[q, g][0]) for q in ("low", "high"))
            row = {
                "group": name,
                "runs": sum(len(x) for x in costs),
                "diverged": sum(int(np.isinf(x).sum()) for x in costs),
                **self.estimate("iqm", ("iqm", g), self.fuzzy(g), sign),
                **self.estimate("median", ("middle", g), self.fuzzy(g), sign),
                "lower_quartile": low,
                "upper_quartile": high,
                **self.estimate("mean", ("mean", g), self.fuzzy(g), sign),
                **self.estimate("rank", ("rank", g), all(self.fuzzy(i) for i in range(len(samples.groups)))),
            }
            if with_threshold:
                row |= self.estimate("optimality_gap", ("gap", g), self.fuzzy(g))
                row |= self.estimate("reached", ("reached", g), self.fuzzy(g))
            rows.append(row)
        return rows

    def tasks(self) -> Rows:
        samples, sign, rows = self.samples, self.samples.sign, []
        for t, task in enumerate(samples.tasks):
            for g, name in enumerate(samples.groups):
                costs = samples.costs[g][t]
                if not len(costs):
                    continue
                ones = np.ones_like(costs, np.int64)
                low, high = sorted(sign * float(quantile(costs, ones, q)) for q in (0.25, 0.75))
                rows.append(
                    {
                        "task": task,
                        "group": name,
                        "runs": len(costs),
                        "diverged": int(np.isinf(costs).sum()),
                        **self.estimate("median", ("median", g), len(costs) > 1, sign, t),
                        "lower_quartile": low,
                        "upper_quartile": high,
                        **self.estimate("iqm", ("task iqm", g), len(costs) > 1, sign, t),
                        "mean": sign * float(self.exact["task mean", g][0, t]),
                    }
                )
        return rows

    def improvement(self, p: Array) -> Rows:
        names = self.samples.groups
        return [
            {
                "better": names[g],
                "than": names[other],
                **self.estimate("probability", ("below", g, other), self.fuzzy(g) and self.fuzzy(other)),
                "p": None if np.isnan(p[g, other]) else float(p[g, other]),
            }
            for g in range(len(names))
            for other in range(len(names))
            if g != other
        ]

    def ranked(self, medians: Array) -> Rows:
        """A row for each group and task, and one over all tasks, which has an interval."""
        fuzzy, rows = all(self.fuzzy(g) for g in range(len(self.samples.groups))), list[dict[str, Any]]()
        of_tasks = ranks(medians)
        for g, name in enumerate(self.samples.groups):
            rows.append({"group": name, "task": "all tasks", **self.estimate("rank", ("rank", g), fuzzy)})
            rows += [
                {"group": name, "task": self.samples.tasks[t], "rank": float(of_tasks[g, i])}
                | {"rank_low": None, "rank_high": None}
                for i, t in enumerate(self.shared)
            ]
        return rows

    def profile(self, taus: Array) -> Rows:
        rows, tail = list[dict[str, Any]](), (1 - self.confidence) / 2
        for g, name in enumerate(self.samples.groups):
            shares = self.exact["profile", g][0].tolist()
            lows, highs = (percentile(self.drawn["profile", g], q).tolist() for q in (tail, 1 - tail))
            for i, tau in enumerate(self.samples.sign * taus):
                ends = (lows[i], highs[i]) if self.fuzzy(g) else (None, None)
                rows.append({"group": name, "tau": float(tau), "share": shares[i], "low": ends[0], "high": ends[1]})
        return rows


def _thresholds(samples: Samples, shared: Sequence[int]) -> Array:
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


def curves_of(samples: Samples) -> Rows:
    """Median and quartiles over the runs of each group on each task, at every iteration that one of them measured.

    A run that has ended counts on with its last measure, one that diverged as the worst.
    """
    rows, sign = list[dict[str, Any]](), samples.sign
    for t, task in enumerate(samples.tasks):
        for g, group in enumerate(samples.groups):
            runs = samples.runs[g][t]
            if not runs:
                continue
            traces = [run.traces[samples.metric] for run in runs]
            times = np.unique(np.concatenate([x for x, _ in traces]))
            costs = np.empty((len(times), len(runs)))
            for i, (run, (at, values)) in enumerate(zip(runs, traces, strict=True)):
                where = np.searchsorted(at, times, side="right") - 1
                costs[:, i] = np.where(where >= 0, sign * values[where.clip(0)], np.nan)
                if run.diverged:
                    costs[times >= at[-1], i] = np.inf
            begun = np.array([[at[0] for at, _ in traces]]) <= times[:, None]
            costs = np.where(np.isfinite(costs) | ~begun, costs, np.inf)
            counts = begun.sum(-1)
            bands = np.empty((3, len(times)))
            for count in np.unique(counts):  # one, unless runs began at different iterations
                here = counts == count
                first = np.sort(costs[here], -1)[:, :count]  # NaN, of what has not begun, is sorted last
                bands[:, here] = [sign * percentile(first.T, q) for q in (0.25, 0.5, 0.75)]
            low, high = np.sort(bands[[0, 2]], axis=0).tolist()
            columns = zip(times.tolist(), counts.tolist(), bands[1].tolist(), low, high, strict=True)
            names = ("iteration", "runs", "median", "lower_quartile", "upper_quartile")
            rows += [{"task": task, "group": group, **dict(zip(names, row, strict=True))} for row in columns]
    return rows
