"""Tables read: from the folders of sweeps and runs, from files in CSV and Parquet, and from Results in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.comparison.tables import Run, Table, count_of, gathered, joined
from gamesim.errors import InvalidInput, missing_extra, refuse
from gamesim.files import read_json
from gamesim.formats.tidy import lines_of

RESULTS, FAILURES = "results.csv", "failures.json"


def read_table(*what: Any) -> Table:
    """Sweeps, runs and tables as one table; runs that are in it twice count once, and that is said.

    what: a folder of a sweep (results.csv), a folder of a run (config.json, trace.csv), a CSV or Parquet file, a Table,
    or a mapping of names to Results.
    """
    if not what:
        raise InvalidInput("compare: give at least one sweep, run or table")
    return joined([_read(one) for one in what])


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
    return gathered(next(lines, (1, []))[1], lines, str(path))


def _read_parquet(path: Path) -> Table:
    try:
        import pandas

        frame = pandas.read_parquet(path)
    except ImportError:
        raise missing_extra(f"{path}: reading Parquet", "pandas and pyarrow", "gamesim[data]") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise InvalidInput(f"{path}: not a table in Parquet ({' '.join(str(error).split())[:200]})") from None
    columns = [str(name) for name in frame.columns]
    absent = frame.isna().to_numpy()
    rows = (
        (i + 1, ["" if gone else str(x) for x, gone in zip(row, absent[i], strict=True)])
        for i, row in enumerate(frame.itertuples(index=False, name=None))
    )
    return gathered(columns, rows, str(path))
