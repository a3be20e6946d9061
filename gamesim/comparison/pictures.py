"""A comparison as pictures, each with the numbers behind it in a CSV file of the same name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamesim.charts import Chart, Curve, Panel
from gamesim.comparison.comparison import Comparison, Part, compare
from gamesim.comparison.estimates import FLOOR
from gamesim.comparison.rows import Rows
from gamesim.files import own_folder, write_text
from gamesim.study import table

DRAWN = 12
"""Groups that are drawn, at most: the best by mean rank."""
PANELS = 6
"""Tasks that have a panel of curves, at most."""
AGGREGATES = {"iqm": "interquartile mean", "median": "median"}


def draw_table(*what: Any, out: Path | str = "figures", metric: str | None = None, **options: Any) -> list[Path]:
    """The pictures of a sweep, of runs or of tables, as `gamesim compare` makes them; returns the files.

    options: as of `compare`.
    """
    return draw_comparison(compare(*what, metric=metric, **options), out)


def draw_comparison(found: Comparison, out: Path | str = "figures") -> list[Path]:
    """Write curves, profile, estimates and ranks: OUT/NAME.png, NAME.pdf, and the numbers in NAME.csv.

    tasks.csv and improvement.csv have no picture of their own.
    """
    from gamesim.figures import save
    from gamesim.figures.comparisons import draw_estimates, draw_panels, draw_ranks

    folder = own_folder(Path(out))
    names = shown(found)
    words = f"{found.metric.replace('_', ' ')}, {_point(found)}"
    share = round(100 * found.confidence, 6)
    title = f"{words}; {share:g}% intervals over seeds" if _fuzzy(found.table()) else words
    if len(names) < len(found.names):
        title += f"; the best {len(names)} of {len(found.names)}"
    groups = {row["group"]: row for row in found.table()}
    pictures = list[tuple[str, Any, Rows]]()
    panels = _curve_panels(found, names)
    if panels:
        of_tasks = f"; {len(panels)} of {len(found.tasks)} tasks" if len(panels) < len(found.tasks) else ""
        heading = f"{found.metric.replace('_', ' ')}: median and quartiles over seeds{of_tasks}"
        pictures.append(("curves", draw_panels(Chart("curves", panels), names, title=heading), found.table("curves")))
    profile = Chart("profile", [_profile_panel(found, names)])
    pictures.append(("profile", draw_panels(profile, names, title=title, step=True), found.table("profile")))
    mean = "mean of task means" if len(found.shared) > 1 else "mean"
    columns = (
        AGGREGATES
        | {"mean": mean}
        | ({"reached": f"share that reached {found.threshold:g}"} if found.threshold is not None else {})
    )
    estimates = {
        heading: [(groups[name][key], groups[name][f"{key}_low"], groups[name][f"{key}_high"]) for name in names]
        for key, heading in columns.items()
    }
    pictures.append(("estimates", draw_estimates(names, estimates, title=title), found.table()))
    if len(names) > 1:
        ranked = [(groups[name]["rank"], groups[name]["rank_low"], groups[name]["rank_high"]) for name in names]
        at = {name: i for i, name in enumerate(names)}
        better = np.full((len(names), len(names)), np.nan)
        for row in found.table("improvement"):
            if row["better"] in at and row["than"] in at:
                better[at[row["better"]], at[row["than"]]] = row["probability"]
        each = [[r["rank"] for r in found.table("ranks") if r["group"] == name and r["task"] in found.shared]
                for name in names]  # fmt: skip
        figure = draw_ranks(names, ranked, each if len(found.shared) > 1 else None, better, title=title)
        pictures.append(("ranks", figure, found.table("ranks")))
    paths = list[Path]()
    for name, figure, rows in pictures:
        paths += save(figure, folder, name)
        paths.append(folder / f"{name}.csv")
        write_text(paths[-1], table(rows))
    alone: tuple[Part, ...] = ("tasks", "improvement")
    for part in alone:
        paths.append(folder / f"{part}.csv")
        write_text(paths[-1], table(found.table(part)))
    return paths


def shown(found: Comparison) -> list[str]:
    """The groups that are drawn, best first: by mean rank, then by interquartile mean."""
    sign = -1 if found.rises else 1
    rows = sorted(found.table(), key=lambda row: (row["rank"], sign * row["iqm"]))
    return [row["group"] for row in rows[:DRAWN]]


def _fuzzy(rows: Rows) -> bool:
    return any(row["iqm_low"] is not None for row in rows)


def _point(found: Comparison) -> str:
    named = {"last": "last measure", "best": "best measure"}
    return named[found.at] if isinstance(found.at, str) else f"iteration {found.at}"


def _curve_panels(found: Comparison, names: Sequence[str]) -> list[Panel]:
    """A panel for each of the first tasks, with median and quartiles; none where only one iteration was measured."""
    rows = [row for row in found.table("curves") if row["group"] in names]
    if len({row["iteration"] for row in rows}) < 2:
        return []
    measured = {row["task"] for row in rows}  # a game of another family may lack the metric
    order = [t for t in (*found.shared, *(t for t in found.tasks if t not in found.shared)) if t in measured]
    panels = []
    for task in order[:PANELS]:
        curves = []
        for name in names:
            own = [row for row in rows if row["task"] == task and row["group"] == name]
            if own:
                keys = ("iteration", "median", "lower_quartile", "upper_quartile")
                x, y, low, high = ([row[key] for row in own] for key in keys)
                curves.append(Curve(name, x, y, low, high))
        logarithmic = not found.rises and not found.metric.startswith("regret")
        panels.append(Panel(task, "iteration", found.metric.replace("_", " "), curves, log_y=logarithmic))
    return panels


def _profile_panel(found: Comparison, names: Sequence[str]) -> Panel:
    curves = []
    for name in names:
        own = [row for row in found.table("profile") if row["group"] == name]
        x, y, low, high = ([row[key] for row in own] for key in ("tau", "share", "low", "high"))
        curves.append(Curve(name, x, y) if low[0] is None else Curve(name, x, y, low, high))
    taus = curves[0].x
    logarithmic = not found.rises and min(taus) >= FLOOR and max(taus) > 10 * min(taus)
    relation = "at least" if found.rises else "at most"
    share = f"share of runs with {found.metric.replace('_', ' ')} {relation} τ"
    return Panel("Performance profile", "τ", share, curves, log_x=logarithmic, log_y=False)
