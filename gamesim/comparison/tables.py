"""Runs side by side: tidy tables of results, as one list of runs that can be compared.

A table is tidy: a line for each (run, iteration, metric). Its columns are `seed`, `iteration`, `metric`, `value`,
perhaps `run` and `status`, and every other column is the configuration: `game`, `solver`, `g.size`, `s.step_size`, ...
A run is one configuration with one seed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamesim.errors import InvalidInput, refuse
from gamesim.formats.tidy import unquoted

MEASURED = ("seed", "iteration", "metric", "value")
TOLD = ("run", "status")
LOST = ("failed", "interrupted", "unfinished", "running")
"""States of runs that have no end to compare."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One configuration with one seed: for each metric the iterations, ascending, and the values there."""

    cells: Mapping[str, str]
    seed: int
    status: str = ""
    traces: Mapping[str, tuple[NDArray[np.int64], Array]] = field(default_factory=dict)
    source: str = ""
    name: str = ""

    @property
    def diverged(self) -> bool:
        return self.status == "diverged"


@dataclass(frozen=True)
class Table:
    """Runs, the columns that configure them, and in words what a reader should know."""

    columns: tuple[str, ...]
    runs: tuple[Run, ...]
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(name for run in self.runs for name in run.traces))

    def cells(self, column: str) -> list[str]:
        """What stands in a column, each once, in order of appearance."""
        return list(dict.fromkeys(run.cells.get(column, "") for run in self.runs))


def gathered(header: Sequence[str], lines: Iterable[tuple[int, list[str]]], source: str) -> Table:
    """Lines of a tidy table as runs."""
    lacking = [name for name in MEASURED if name not in header]
    if lacking:
        words = (
            f"{source}: has no column {lacking[0]}; a table of results has {', '.join(MEASURED)} and what was varied"
        )
        raise InvalidInput(words)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None or "" in header:
        raise InvalidInput(f"{source}: {'a column has no name' if twice is None else f'column {twice} stands twice'}")
    at = {name: i for i, name in enumerate(header)}
    columns = [name for name in header if name not in MEASURED + TOLD]
    where = [at[name] for name in columns]
    seed_at, time_at, metric_at, value_at = (at[name] for name in MEASURED)
    run_at, status_at = at.get("run"), at.get("status")
    found = dict[tuple[str, ...], tuple[str, str, dict[str, tuple[list[int], list[float]]]]]()
    for number, line in lines:
        if not line:
            continue
        if len(line) != len(header):
            raise InvalidInput(f"{source}: line {number} has {len(line)} cells where there are {len(header)} columns")
        key = (*(line[i] for i in where), line[seed_at])
        run, status = "" if run_at is None else line[run_at], "" if status_at is None else line[status_at]
        known = found.get(key)
        if known is None:
            known = found[key] = (run, status, {})
        if known[0] != run:
            words = f"runs {known[0]!r} and {run!r} have the same configuration and seed; a column must tell them apart"
            raise InvalidInput(f"{source}: line {number}: {words}")
        if not (line[metric_at] or line[value_at]):  # a run that failed measured nothing
            continue
        try:
            iteration = _whole(line[time_at])
        except ValueError:
            field = f"{source}: line {number}: iteration"
            raise refuse(field, line[time_at], "a whole number of at least 0") from None
        try:
            value = float(line[value_at]) if line[value_at] else math.nan
        except ValueError:
            raise refuse(f"{source}: line {number}: value", line[value_at], "a number, or nan") from None
        iterations, values = known[2].setdefault(line[metric_at], ([], []))
        iterations.append(iteration)
        values.append(value)
    if not found:
        raise InvalidInput(f"{source}: has columns and no lines; nothing was measured")
    runs = []
    for key, (name, status, traces) in found.items():
        try:
            seed = _whole(key[-1])
        except ValueError:
            raise refuse(f"{source}: seed", key[-1], "a whole number of at least 0") from None
        cells = {column: unquoted(cell) for column, cell in zip(columns, key[:-1], strict=True) if cell}
        arrays = {metric: _ordered(*trace, f"{source}: {metric}") for metric, trace in traces.items()}
        runs.append(Run(cells, seed, status, arrays, source, name))
    return Table(tuple(columns), tuple(runs))


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = int(text.removesuffix(".0"))  # a column with a gap comes back from pandas as floats
    if not 0 <= number < 2**63:
        raise ValueError(text)
    return number


def _ordered(iterations: list[int], values: list[float], what: str) -> tuple[NDArray[np.int64], Array]:
    times, found = np.array(iterations, np.int64), np.array(values, np.float64)
    order = np.argsort(times, kind="stable")
    times, found = times[order], found[order]
    same = times[1:] == times[:-1]
    if same.any():
        i = int(same.argmax())
        raise InvalidInput(
            f"{what} stands twice for one run at iteration {times[i]}: {found[i]:g} and {found[i + 1]:g}"
        )
    return times, found


def joined(tables: Sequence[Table]) -> Table:
    """Tables as one; runs that are in it twice count once, and that is said."""
    columns = tuple(dict.fromkeys(name for table in tables for name in table.columns))
    kept = dict[Any, Run]()
    repeated = 0
    for run in (run for table in tables for run in table.runs):
        key = (*(run.cells.get(name, "") for name in columns), run.seed)
        before = kept.setdefault(key, run)
        if before is run:
            continue
        if not _equal(before.traces, run.traces):
            words = f"{before.source} and {run.source} differ for the same configuration and seed {run.seed}; give one"
            raise InvalidInput(f"compare: {words}")
        repeated += 1
    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    if repeated:
        notes.append(f"given twice with the same numbers, and counted once: {count_of(repeated, 'run')}")
    return Table(columns, tuple(kept.values()), tuple(notes))


def _equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[m][0], b[m][0]) and np.array_equal(a[m][1], b[m][1], equal_nan=True) for m in a
    )


def count_of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
