"""Groups of runs side by side: statistics with intervals, ranks, and the pictures of these."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gamesim.cli.shell import JSON, cli, print_json
from gamesim.errors import refuse

WIDE = 7
"""Groups up to which every pair is printed."""
LONG = 20
"""Tasks that are printed, at most."""


@cli.command(short_help="Compare solvers over games and seeds, with intervals.")
@click.argument("what", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="WHAT...")
@click.option("--metric", help="What is compared  [default: exploitability]")
@click.option(
    "--by", metavar="COLUMN,...", help="What makes groups  [default: solver, with those of its parameters that vary]"
)
@click.option("--pool", metavar="COLUMN,...", help="Runs of a task may differ in these, as they do in seeds.")
@click.option(
    "--at", default="last", show_default=True, metavar="last|best|ITERATION", help="Which measure of a run counts."
)
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of intervals.")
@click.option("--resamples", type=int, default=2000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option(
    "--threshold", type=float, help="A value that is good enough: share of runs that reach it, optimality gap."
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("figures"), show_default=True, help="Folder for the figures."
)
@JSON
def compare(what: tuple[Path, ...], pool: str | None, at: str, out: Path, as_json: bool, **options: Any) -> None:
    """Compare solvers over games and seeds: interquartile means, medians, ranks, performance profiles, with intervals.

    WHAT is the folder of a sweep, folders of runs, or tables (CSV, Parquet) with columns seed, iteration, metric, value
    and what was varied.

    \b
    gamesim compare runs/study                         a sweep
    gamesim compare runs/shapley-* --at best           runs
    gamesim compare runs/study --by solver,s.step_size --at 1000 --threshold 1e-3
    """
    from gamesim.comparison import compare as comparison_of
    from gamesim.comparison import draw_comparison

    found = comparison_of(*what, pool=pool or (), at=_at(at), **options)
    paths = draw_comparison(found, out)
    if as_json:
        return print_json(found.plain() | {"figures": [str(path) for path in paths]})
    _print(found)
    for path in paths:
        if path.suffix == ".png":
            click.echo(f"figure  {path}")


def _at(text: str) -> Any:
    if text in ("last", "best"):
        return text
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise refuse("at", text, "last, best, or an iteration")
    return int(text)


def _print(found: Any) -> None:
    from rich.console import Console

    from gamesim.comparison.pictures import shown
    from gamesim.comparison.tables import count_of

    width = None if sys.stdout.isatty() else 60 + 36 * WIDE
    console = Console(highlight=False, markup=False, width=width)
    rows = {row["group"]: row for row in found.table()}
    best = shown(found)
    order = [*best, *(name for name in rows if name not in best)]
    tasks = count_of(len(found.shared), "task")
    point = found.at if isinstance(found.at, str) else f"iteration {found.at}"
    click.echo(f"{found.metric} ({point}), {'more' if found.rises else 'less'} is better, {tasks}")
    console.print(_groups(found, [rows[name] for name in order]))
    if len(found.shared) > 1:
        console.print(_tasks(found, order[:WIDE]))
    if 1 < len(rows) <= WIDE:
        console.print(_pairs(found, order))
    if len(rows) > 1:
        click.echo(found.test.words)
    for note in found.notes:
        click.echo(f"note: {note}")


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(show_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=not i)
    return table


def _groups(found: Any, rows: Sequence[dict[str, Any]]) -> Any:
    share = f"{100 * found.confidence:g}%"
    headings = ["group", "runs", f"IQM [{share}]", "median [quartiles]", "mean", f"rank [{share}]"]
    lost = any(row["diverged"] for row in rows)
    limit = found.threshold is not None
    table = _table(
        *headings, *(["diverged"] if lost else []), *([f"reached {found.threshold:g}", "gap"] if limit else [])
    )
    for row in rows:
        cells = [
            row["group"], str(row["runs"]), _interval(row, "iqm"),
            f"{_number(row['median'])} [{_number(row['lower_quartile'])}, {_number(row['upper_quartile'])}]",
            _number(row["mean"]), _interval(row, "rank"),
        ]  # fmt: skip
        cells += [str(row["diverged"])] if lost else []
        cells += [_interval(row, "reached"), _number(row["optimality_gap"])] if limit else []
        table.add_row(*cells)
    return table


def _tasks(found: Any, names: Sequence[str]) -> Any:
    """Medians and ranks: a row for each task."""
    table = _table("median (rank) of task", *names)
    medians = {(row["task"], row["group"]): row["median"] for row in found.table("tasks")}
    ranks = {(row["task"], row["group"]): row["rank"] for row in found.table("ranks")}
    for task in found.tasks[:LONG]:
        cells = []
        for name in names:
            rank = f" ({ranks[task, name]:g})" if (task, name) in ranks else ""
            cells.append(_number(medians[task, name]) + rank if (task, name) in medians else "-")
        table.add_row(task, *cells)
    if len(found.tasks) > LONG:
        table.add_row(f"and {len(found.tasks) - LONG} more", *("" for _ in names))
    return table


def _pairs(found: Any, names: Sequence[str]) -> Any:
    """How probably a run of the row is better than one of the column."""
    table = _table("better than", *names)
    rows = {(row["better"], row["than"]): row for row in found.table("improvement")}
    for name in names:
        table.add_row(name, *("" if name == other else _interval(rows[name, other], "probability") for other in names))
    return table


def _interval(row: dict[str, Any], key: str) -> str:
    if row[f"{key}_low"] is None:
        return _number(row[key])
    return f"{_number(row[key])} [{_number(row[f'{key}_low'])}, {_number(row[f'{key}_high'])}]"


def _number(x: float) -> str:
    return "∞" if x == math.inf else "-∞" if x == -math.inf else f"{x:.3g}"
