"""What is compared: runs in groups, within tasks, each with one number.

Numbers are *costs*, so that less is better: the value of a metric that is a distance or a loss, minus the value of one
that rises. A run that diverged costs infinity: it is the worst, and never left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np

from gamesim.comparison.tables import LOST, Array, Run, Table, count_of
from gamesim.errors import InvalidInput, refuse, unknown
from gamesim.traces import rises

MOST = 40
"""Groups that are compared at once, at most: every pair is."""
SHORT = 3
"""Names that a note lists, at most."""

At = Literal["last", "best"] | int


@dataclass(frozen=True)
class Samples:
    """runs[g][t]: the runs of group g on task t, and costs[g][t] what they cost, ascending; some may be empty."""

    metric: str
    rises: bool
    at: At
    by: tuple[str, ...]
    groups: tuple[str, ...]
    tasks: tuple[str, ...]
    runs: tuple[tuple[tuple[Run, ...], ...], ...]
    costs: tuple[tuple[Array, ...], ...]
    notes: tuple[str, ...]

    @property
    def sign(self) -> int:
        """What takes a cost to a value."""
        return -1 if self.rises else 1

    def shared(self) -> list[int]:
        """The tasks that every group has run."""
        return [t for t in range(len(self.tasks)) if all(len(costs[t]) for costs in self.costs)]


def arrange(table: Table, metric: str | None, by: Sequence[str] | None, at: At, pool: Sequence[str] = ()) -> Samples:
    """Runs of a table by group and task: groups are what `by` names, tasks the rest of what varies.

    by: columns; unless given, the solver with those of its parameters that vary. pool: columns that make neither group
    nor task: runs that differ in these are runs of one task, as seeds are.
    """
    notes = [*table.notes]
    metric = _metric(table, metric)
    chosen = _columns(table, by, pool)
    notes += [f"pooled: {name} has {len(table.cells(name))} values, which are resampled as seeds are" for name in pool]
    rest = [
        name
        for name in table.columns
        if name not in (*chosen, *pool) and len(table.cells(name)) > 1 and not _of_groups(table, chosen, name)
    ]
    if not rest and "game" in table.columns and "game" not in (*chosen, *pool):
        rest = ["game"]
    groups = dict[tuple[str, ...], dict[tuple[str, ...], list[Run]]]()
    tasks = dict[tuple[str, ...], None]()
    lost, silent = Counter[str](), Counter[str]()
    for run in table.runs:
        group, task = (tuple(run.cells.get(name, "") for name in names) for names in (chosen, rest))
        here = groups.setdefault(group, {}).setdefault(task, [])
        tasks.setdefault(task)
        if run.status in LOST or not run.traces:
            lost[run.status or "empty"] += 1
        elif metric not in run.traces:
            silent[_label(chosen, group)] += 1
        else:
            here.append(run)
    notes += [f"left out: {count_of(count, 'run')} with status {status}" for status, count in lost.items()]
    notes += [f"left out: {count_of(count, 'run')} of {name} without {metric}" for name, count in silent.items()]
    if len(groups) > MOST:
        words = f"at most {MOST} groups, not {len(groups)}; name fewer columns in --by, or --pool some"
        raise refuse("by", ",".join(chosen), words)
    members = {g: {t: tuple(own.get(t, ())) for t in tasks} for g, own in groups.items()}
    names = {g: _label(chosen, g) for g in members}
    for g in [g for g, own in members.items() if not any(own.values())]:
        notes.append(f"{names[g]} has no run to compare, and is left out")
        del members[g]
    if not members:
        raise InvalidInput(f"compare: no run has a {metric} to compare ({'; '.join(notes)})")
    every = [run for of_task in members.values() for runs in of_task.values() for run in runs]
    notes += _of_ends(every, metric, at)
    costs = tuple(tuple(_costs(runs, metric, at) for runs in of_task.values()) for of_task in members.values())
    found = Samples(
        metric, rises(metric), at, chosen, tuple(names[g] for g in members),
        tuple(_label(rest, t) if rest else "all runs" for t in tasks),
        tuple(tuple(of_task.values()) for of_task in members.values()), costs, (),
    )  # fmt: skip
    return replace(found, notes=(*notes, *_of_holes(found)))


def value_of(run: Run, metric: str, at: At) -> float:
    """The number of a run: its last or best measure, or that of an iteration; NaN where it had diverged.

    The best of a run that diverged is of the time before. A run that met its tolerance keeps its last measure.
    """
    times, values = run.traces[metric]
    if at == "best":
        finite = values[np.isfinite(values)]
        return float((finite.max if rises(metric) else finite.min)()) if len(finite) else np.nan
    if at == "last" or at > times[-1]:
        return np.nan if run.diverged else float(values[-1])
    return float(values[np.searchsorted(times, at)])


def _costs(runs: Sequence[Run], metric: str, at: At) -> Array:
    values = np.array([value_of(run, metric, at) for run in runs], np.float64)
    values = -values if rises(metric) else values
    return np.sort(np.where(np.isfinite(values), values, np.inf))


def _metric(table: Table, metric: str | None) -> str:
    known = table.metrics
    if not known:
        raise InvalidInput("compare: nothing was measured in any of the runs")
    if metric is not None:
        if metric not in known:
            raise unknown("metric", metric, known)
        return metric
    if "exploitability" in known or len(known) == 1:
        return "exploitability" if "exploitability" in known else known[0]
    raise InvalidInput(f"metric: the runs have no exploitability; name one of {', '.join(sorted(known)[:40])}")


def _columns(table: Table, by: Sequence[str] | None, pool: Sequence[str]) -> tuple[str, ...]:
    for name in pool:
        if name not in table.columns or name in (by or ()):
            raise refuse("pool", name, f"one of {', '.join(x for x in table.columns if x not in (by or ()))}")
    if by is not None:
        for name in by:
            if name not in table.columns:
                raise unknown("by", name, table.columns)
        if not by or len(set(by)) < len(by):
            raise refuse("by", ",".join(by), "columns of the table, each once")
        return tuple(by)
    if "solver" not in table.columns:
        raise refuse("by", "solver", f"a column of the table: {', '.join(table.columns) or 'it has none'}")
    inside = dict[tuple[str, str], set[str]]()
    for run in table.runs:
        for name in table.columns:
            if name.startswith("s.") and name not in pool:
                inside.setdefault((run.cells.get("solver", ""), name), set()).add(run.cells.get(name, ""))
    return ("solver", *dict.fromkeys(name for (_, name), cells in inside.items() if len(cells) > 1))


def _of_groups(table: Table, chosen: Sequence[str], name: str) -> bool:
    """Whether a parameter of solvers has one value in each group, so that it is no part of the task."""
    if not name.startswith("s."):
        return False
    met = dict[tuple[str, ...], str]()
    return all(
        met.setdefault(tuple(run.cells.get(column, "") for column in chosen), run.cells.get(name, ""))
        == run.cells.get(name, "")
        for run in table.runs
    )


def _short(cell: str) -> str:
    """A number of many digits by its first eight: enough to tell values apart that somebody chose."""
    try:
        return f"{float(cell):.8g}" if len(cell) > 10 else cell
    except ValueError:
        return cell


def _label(names: Sequence[str], cells: Sequence[str]) -> str:
    """A configuration in words: the names of games and solvers, then what is set.

    >>> _label(["solver", "s.step_size"], ["ftrl", "0.1"])
    'ftrl step_size=0.1'
    """
    words = [cell if name in ("game", "solver") else f"{name[2:] if name[:2] in ('g.', 's.') else name}={_short(cell)}"
             for name, cell in zip(names, cells, strict=True) if cell]  # fmt: skip
    return " ".join(words) or "default"


def _of_ends(runs: Sequence[Run], metric: str, at: At) -> list[str]:
    """What should be said of where runs were read; an iteration that some run has not measured is refused."""
    ends = Counter(int(run.traces[metric][0][-1]) for run in runs)
    if not isinstance(at, int):
        going_on = {int(run.traces[metric][0][-1]) for run in runs if run.status in ("", "out-of-iterations", "done")}
        if at == "last" and len(going_on) > 1:
            return [f"runs were measured last at different iterations, from {min(ends)} to {max(ends)}"]
        return []
    without = [run for run in runs if not _has(run, metric, at)]
    if without:
        common = reduce(np.intersect1d, [run.traces[metric][0] for run in runs])
        near = ", ".join(str(t) for t in sorted(sorted(common, key=lambda t: abs(int(t) - at))[:4]))
        count = "no run has" if len(without) == len(runs) else f"{len(without)} of {len(runs)} runs have not"
        near = f"one that every run has: {near}" if near else "last or best: no iteration was measured in every run"
        raise refuse("at", at, f"{near} ({count} measured this one)")
    early = sum(int(run.traces[metric][0][-1]) < at and not run.diverged for run in runs)
    return [f"{early} runs had ended before iteration {at} and count with their last measure"] if early else []


def _has(run: Run, metric: str, at: int) -> bool:
    times, values = run.traces[metric]
    ended = run.status in ("converged", "stopped", "diverged") or not np.isfinite(values[-1])
    return at in times or (at > times[-1] and ended)


def _of_holes(samples: Samples) -> list[str]:
    """Runs that diverged, and what is missing: in words."""
    notes = []
    for group, costs in zip(samples.groups, samples.costs, strict=True):
        gone, count = sum(int(np.isinf(x).sum()) for x in costs), sum(len(x) for x in costs)
        if gone:
            notes.append(f"{gone} of {count} runs of {group} diverged and count as the worst")
    missing, alone = list[str](), list[str]()
    for t, task in enumerate(samples.tasks):
        counts = [len(costs[t]) for costs in samples.costs]
        seeds = set[int]().union(*({run.seed for run in runs[t]} for runs in samples.runs))
        for g, group in enumerate(samples.groups):
            if not counts[g]:
                missing.append(f"{group} has no run of {task}")
            elif counts[g] < max(counts):
                lacking = sorted(seeds - {run.seed for run in samples.runs[g][t]})
                shown = ", ".join(str(seed) for seed in lacking[:SHORT]) + (", ..." if len(lacking) > SHORT else "")
                seeds_named = f"seed{'' if len(lacking) == 1 else 's'} {shown}"
                whole = f"{counts[g]} runs where others have {max(counts)}"
                missing.append(f"{group} {f'lacks {seeds_named}' if lacking else f'has {whole}'} of {task}")
            if counts[g] == 1:
                alone.append(f"{group} on {task}")
    if missing:
        notes.append(f"incomplete: {_some(missing)}")
    if alone:
        notes.append(f"one seed only, so no interval: {_some(alone)}")
    left = len(samples.tasks) - len(samples.shared())
    if left:
        notes.append(
            f"{left} of {len(samples.tasks)} tasks are not of every group; what is over all tasks leaves them out"
        )
    return notes


def _some(words: Sequence[str]) -> str:
    more = len(words) - SHORT
    return "; ".join(words[:SHORT]) + (f"; and {more} more" if more > 0 else "")
