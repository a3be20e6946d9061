"""What a person sees while a sweep goes: all runs on one bar, and the best configurations so far; on stderr."""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gamesim.sweeps.results import Ended
from gamesim.traces import about, rises

SHOWN = 3
"""Configurations of each game in the table of the best, and games beyond which it shows no more than GAMES."""
GAMES = 8


def best(found: Sequence[Ended]) -> list[dict[str, Any]]:
    """Configurations by the median of their last measure over seeds, best first in each game, diverged ones last."""
    groups = dict[tuple[Any, ...], list[Ended]]()
    for end in found:
        groups.setdefault((end.run.game, end.run.solver, *end.run.varied.items()), []).append(end)
    shared = dict[str, set[str]]()  # one metric in each game: not the regularized one here and the plain one there
    for end in found:
        shared[end.run.game] = shared.get(end.run.game, set(end.last)) & set(end.last)
    rows = []
    for ends in groups.values():
        run, own = ends[0].run, ends[0].last
        metric = about([name for name in own if name in shared[run.game]] or own, "regularized_exploitability")
        values = [end.last[metric] for end in ends if end.last[metric] == end.last[metric]]
        median = statistics.median(values) if 2 * len(values) > len(ends) else None
        rows.append(
            {"game": run.game, "solver": run.solver, "parameters": run.varied, "metric": metric, "median": median}
            | {"seeds": len(ends), "diverged": len(ends) - len(values)}
        )

    def place(row: dict[str, Any]) -> tuple[str, bool, float]:
        value = row["median"]
        return row["game"], value is None, 0.0 if value is None else -value if rises(row["metric"]) else value

    return sorted(rows, key=place)


class Board:
    """A live bar and table on a terminal; elsewhere a line each `interval` seconds; nothing if not `show`."""

    def __init__(self, total: int, show: bool, interval: float = 5.0) -> None:
        self._total, self._show, self._interval = total, show, interval
        self._live: Any = None
        self._bar: Any = None
        self._said = time.monotonic()
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
            )
            self._task = self._bar.add_task("starting", total=total)
            self._live = Live(self._bar, console=Console(stderr=True), refresh_per_second=4)
            self._live.start()

    def update(self, done: float, failed: int, busy: int, found: Sequence[Ended], total: int | None = None) -> None:
        """done: finished runs, with the shares of those under way."""
        self._total = total or self._total
        words = f"{busy} under way" + (f", {failed} failed" if failed else "")
        if self._live is not None:
            from rich.console import Group

            self._bar.update(self._task, completed=int(done), total=self._total, description=words)
            self._live.update(Group(self._bar, best_table(best(found))) if found else self._bar)
        elif self._show and time.monotonic() - self._said > self._interval:
            self._said = time.monotonic()
            print(f"{done:.0f} of {self._total} runs, {words}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def best_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The best few configurations of each of the first games, with the parameters that vary, as a rich table."""
    from rich.table import Table

    games = list(dict.fromkeys(row["game"] for row in rows))
    table = Table(title="best in each game, median over seeds", title_justify="left", box=None, pad_edge=False)
    for heading in ("game", "solver", "parameters", "metric", "median", "seeds"):
        table.add_column(heading, justify="right" if heading in ("median", "seeds") else "left", no_wrap=True)
    for game in games[:GAMES]:
        own = [row for row in rows if row["game"] == game]
        known = {name for row in own for name in row["parameters"]}
        varying = {name for name in known if len({row["parameters"].get(name) for row in own}) > 1}
        for row in own[:SHOWN]:
            median = "diverged" if row["median"] is None else f"{row['median']:.4g}"
            said = " ".join(f"{k}={_short(v)}" for k, v in row["parameters"].items() if k in varying)
            table.add_row(game, row["solver"], said, row["metric"].replace("_", " "), median, str(row["seeds"]))
    if len(games) > GAMES:
        table.add_row(f"... and {len(games) - GAMES} more games")
    return table


def _short(text: str) -> str:
    try:
        return f"{float(text):.6g}"
    except ValueError:
        return text
