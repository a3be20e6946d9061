"""What a comparison says, as tidy rows: values with the ends of their intervals, and curves over the iterations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gamesim.comparison.estimates import Statistics
from gamesim.comparison.ranking import ranks
from gamesim.comparison.resampling import percentile, quantile
from gamesim.comparison.samples import Samples
from gamesim.comparison.tables import Array

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Told:
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
