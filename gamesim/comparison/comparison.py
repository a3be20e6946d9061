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

from gamesim.comparison.estimates import resampled, statistics_of, thresholds
from gamesim.comparison.ranking import RankTest, pair_tests, rank_test
from gamesim.comparison.reading import read_table
from gamesim.comparison.rows import Rows, Told, curves_of
from gamesim.comparison.samples import At, arrange
from gamesim.errors import missing_extra, refuse

Part = Literal["groups", "tasks", "improvement", "ranks", "profile", "curves"]
PARTS: tuple[Part, ...] = ("groups", "tasks", "improvement", "ranks", "profile", "curves")


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
            raise missing_extra("frame()", "pandas", "gamesim[data]") from None
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
    taus = thresholds(samples, shared)
    limit = None if threshold is None else samples.sign * threshold
    exact = statistics_of(
        samples, shared, taus, limit, [[np.ones_like(x, np.int64)[None] for x in costs] for costs in samples.costs]
    )
    drawn = resampled(samples, shared, taus, limit, resamples, seed)
    told = Told(samples, shared, exact, drawn, confidence)
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
