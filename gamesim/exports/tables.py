"""Tidy tables as CSV or Parquet: a run's policy or trace, or the results of a sweep."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from gamesim.errors import InvalidInput, missing_extra, refuse
from gamesim.exports.labels import Labelled
from gamesim.files import write_text, write_with
from gamesim.formats.tidy import lines_of, quoted, unquoted
from gamesim.traces import HEADER, Trace

Table = dict[str, list[Any]]
"""Columns by name, all of one length."""
LARGEST = 10**7
"""Rows of a policy's table."""
TEXT = ("run", "game", "solver", "status", "metric")
"""Columns of a sweep's results that are names, whatever they look like."""


def policy_table(players: Sequence[Labelled]) -> Table:
    """A row for each probability (`value`, where points are none): player, what stands along each axis."""
    total = sum(x.values.numel() for x in players)
    if total > LARGEST:
        raise refuse("to", f"a table of {total:,} rows", f"npz or safetensors: tables have at most {LARGEST:,}")
    axes = list(dict.fromkeys(axis for x in players for axis in x.axes))
    last = "value" if "coordinate" in axes else "probability"
    found: Table = {name: [] for name in ("player", *axes, last)}
    for x in players:
        along = [x.labels.get(axis, range(size)) for axis, size in zip(x.axes, x.values.shape, strict=True)]
        for place, value in zip(product(*along), x.values.flatten().tolist(), strict=True):
            row = dict(zip(x.axes, place, strict=True))
            found["player"].append(x.player)
            found[last].append(value)
            for axis in axes:
                found[axis].append(row.get(axis))
    return found


def trace_table(trace: Trace) -> Table:
    """A row for each measure: iteration, seed, metric, value."""
    rows = trace.rows()
    return {name: [row[i] for row in rows] for i, name in enumerate(HEADER)}


def results_table(path: Path) -> Table:
    """The results of a sweep, from its results.csv; a column of numbers becomes numbers, an empty cell is missing."""
    head, *rows = [line for _, line in lines_of(path)]
    if not head or len(set(head)) != len(head) or any(len(row) != len(head) for row in rows):
        raise InvalidInput(f"{path}: not a table that gamesim wrote (its rows are not as long as its first line)")
    return {name: _typed(name, [row[i] for row in rows]) for i, name in enumerate(head)}


def _typed(name: str, cells: list[str]) -> list[Any]:
    if name in TEXT:
        return [unquoted(x) or None for x in cells]
    for kind in (int, float):
        try:
            return [None if x == "" else kind(x) for x in cells]
        except ValueError:
            continue
    return [unquoted(x) or None for x in cells]


def write_table(path: Path, table: Table, to: str) -> None:
    """A table as csv or parquet, whole or not at all."""
    if to == "csv":
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(table)
        out.writerows(_cells(row) for row in zip(*table.values(), strict=True))
        return write_text(path, text.getvalue())
    try:
        import pyarrow
        from pyarrow.parquet import write_table as write_parquet
    except ModuleNotFoundError:
        raise missing_extra("a .parquet file", "pyarrow", "gamesim[data]") from None
    write_with(path, lambda spare: write_parquet(pyarrow.table(table), spare))


def _cells(row: Iterable[Any]) -> list[str]:
    return ["" if x is None else repr(x) if isinstance(x, float) else quoted(str(x)) for x in row]
