"""Runs side by side: what sweeps, runs and tidy tables hold, read into one list of runs that can be compared.

A table is tidy: a line for each (run, iteration, metric). Its columns are `seed`, `iteration`, `metric`, `value`,
perhaps `run` and `status`, and every other column is the configuration: `game`, `solver`, `g.size`, `s.step_size`, ...
A run is one configuration with one seed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamesim.errors import InvalidInput, MissingExtra, refuse
from gamesim.files import read_json
from gamesim.formats.tidy import lines_of, unquoted

MEASURED = ("seed", "iteration", "metric", "value")
TOLD = ("run", "status")
RESULTS, FAILURES = "results.csv", "failures.json"
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


def read_table(*what: Any) -> Table:
    """Sweeps, runs and tables as one table; runs that are in it twice count once, and that is said.

    what: a folder of a sweep (results.csv), a folder of a run (config.json, trace.csv), a CSV or Parquet file, a Table,
    or a mapping of names to Results.
    """
    if not what:
        raise InvalidInput("compare: give at least one sweep, run or table")
    return _joined([_read(one) for one in what])


def _read(one: Any) -> Table:
    if isinstance(one, Table):
        return one
    if isinstance(one, Mapping):
        return table_of(one)
    if not isinstance(one, str | Path):
        raise refuse("compare", type(one).__name__, "folders, files, a Table, or a mapping of names to Results")
    path = Path(one)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise refuse(
            "compare", str(one), "the folder of a sweep or a run, or a table of results; there is no such file"
        )
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    return _read_csv(path)


def _read_folder(folder: Path) -> Table:
    if (folder / RESULTS).is_file():
        found = _read_csv(folder / RESULTS)
        notes = [*found.notes]
        failures = read_json(folder / FAILURES) if (folder / FAILURES).is_file() else []
        there = {run.name for run in found.runs}  # one that diverged stands in both
        names = [f.get("run") for f in failures if isinstance(f, dict)] if isinstance(failures, list) else []
        gone = sum(name not in there for name in names)
        if gone:
            notes.append(f"left out: {count_of(gone, 'run')} of {folder} that failed; see {folder / FAILURES}")
        if not (folder / "DONE").exists():
            notes.append(f"the sweep {folder} has not ended; gamesim sweep --resume continues it")
        return Table(found.columns, found.runs, tuple(notes))
    if (folder / "results.parquet").is_file():
        return _read_parquet(folder / "results.parquet")
    if (folder / "trace.csv").is_file():
        if folder.resolve().parent.name == "batches" and (folder.resolve().parents[1] / "plan.json").is_file():
            raise refuse("compare", str(folder), f"the sweep that this batch is of: {folder.resolve().parents[1]}")
        return _read_run(folder)
    if (folder / "plan.json").is_file():
        raise refuse("compare", str(folder), "a sweep with results: it has no results.csv; gamesim sweep --resume")
    inside = sorted(path.parent.name for path in folder.glob("*/trace.csv"))
    hint = f"; there are runs in it: give {folder}/*" if inside else ""
    raise refuse("compare", str(folder), f"the folder of a sweep (results.csv) or of a run (trace.csv){hint}")


def _read_run(folder: Path) -> Table:
    """A run's folder: what was typed for game and solver is its configuration, and each seed is a run."""
    from gamesim.exports import read_run

    run = read_run(folder)
    config, cells = run.config, dict[str, str]()
    for name in ("game", "solver"):
        id, given = config[name]["id"], config[name].get("given")
        cells[name] = id
        for key, value in (given if isinstance(given, dict) else {}).items():
            if not (key == "file" and value == id):
                cells[f"{name[0]}.{key}"] = str(value)
    if config.get("start", "game") != "game":
        cells["start"] = str(config["start"])
    if config.get("average"):
        cells["average"] = "true"
    status = str(run.summary.get("status", "")) if run.ended and isinstance(run.summary, dict) else "unfinished"
    notes = () if run.ended else (f"the run {folder} has not ended; the same command with --resume continues it",)
    runs = _of_trace(run.trace, cells, status, str(folder))
    if not runs:
        raise refuse("compare", str(folder), "the folder of a run that has measured something; this trace is empty")
    return Table(tuple(cells), tuple(runs), notes)


def _of_trace(trace: Any, cells: Mapping[str, str], status: str, source: str) -> list[Run]:
    """A run for each member of a batch; of one that diverged, those whose last measures are finite did not."""
    seeds = list(dict.fromkeys(seed for _, seed, _, _ in trace.rows(last=True)))
    iterations = np.array(trace.iterations, np.int64)
    values = {m: np.stack([x.reshape(-1).numpy() for x in found]) for m, found in trace.metrics.items()}
    runs = []
    for row, seed in enumerate(seeds):
        traces = {m: (iterations, x[:, row]) for m, x in values.items()}
        alone = len(seeds) == 1 or any(not np.isfinite(x[-1]) for _, x in traces.values())
        own = status if status != "diverged" or alone else ""
        runs.append(Run(cells, seed, own, traces, source))
    return runs


def table_of(results: Mapping[str, Any]) -> Table:
    """Results in memory by name; the name stands in the column `solver`."""
    runs = list[Run]()
    for name, result in results.items():
        if not hasattr(result, "trace"):
            raise refuse(f"results[{name!r}]", type(result).__name__, "a Result of gs.solve")
        status = getattr(result.status, "label", "")
        runs += _of_trace(result.trace, {"solver": str(name)}, status, str(name))
    return Table(("solver",), tuple(runs))


def _read_csv(path: Path) -> Table:
    lines = lines_of(path)
    return _gathered(next(lines, (1, []))[1], lines, str(path))


def _read_parquet(path: Path) -> Table:
    try:
        import pandas

        frame = pandas.read_parquet(path)
    except ImportError:
        words = f"{path}: reading Parquet needs pandas and pyarrow: pip install 'gamesim[data]' pyarrow"
        raise MissingExtra(words) from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InvalidInput(f"{path}: not a table in Parquet ({' '.join(str(error).split())[:200]})") from None
    columns = [str(name) for name in frame.columns]
    absent = frame.isna().to_numpy()
    rows = (
        (i + 1, ["" if gone else str(x) for x, gone in zip(row, absent[i], strict=True)])
        for i, row in enumerate(frame.itertuples(index=False, name=None))
    )
    return _gathered(columns, rows, str(path))


def _gathered(header: Sequence[str], lines: Iterable[tuple[int, list[str]]], source: str) -> Table:
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


def _joined(tables: Sequence[Table]) -> Table:
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
