"""Figures of comparisons: curves with bands by task, profiles, interval estimates, ranks, who is better than whom."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from gamesim.charts import Chart, Panel
from gamesim.figures.style import COLOURS, FLOOR, INK, QUIET, STYLE, bar, log_scale

Interval = tuple[float, float | None, float | None]
"""A number and the ends of its interval, None where there is none."""

LETTERS = 46
WRITTEN = 10
"""Groups up to which probabilities are written into the table."""
GRID = "#e6e8eb"
LARGEST = 1e150
"""What is larger is drawn there: an axis cannot hold the square of it."""
SHADES = LinearSegmentedColormap.from_list("improvement", [COLOURS[1], "#ffffff", COLOURS[0]])


def draw_panels(chart: Chart, names: Sequence[str], *, title: str = "", step: bool = False) -> Figure:
    """Panels in rows of three, with one legend; names: all labels, in the order that gives them their colours."""
    count = len(chart.panels)
    wide = min(3, count)
    high = -(-count // wide)
    with matplotlib.rc_context(STYLE):
        size = (5.6 if count == 1 else 3.7 * wide, 3.6 if count == 1 else 2.9 * high)
        figure = Figure(figsize=(size[0] + 0.075 * _longest(names), size[1]), layout="constrained")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9, color=INK)
        grid = np.atleast_1d(figure.subplots(high, wide)).ravel()
        for i, (axes, panel) in enumerate(zip(grid, chart.panels, strict=False)):
            _panel(axes, panel, names, step)
            if i % wide:
                axes.set_ylabel("")
            if i + wide < count:
                axes.set_xlabel("")
        for axes in grid[count:]:
            axes.remove()
        lines = dict[str, Any]()
        for axes in grid[:count]:
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
                lines.setdefault(label, line)
        order = [name for name in names if _short(name) in lines]
        figure.legend(
            [lines[_short(n)] for n in order], [_short(n) for n in order], loc="outside right center", fontsize=8
        )
        return figure


def _panel(axes: Axes, panel: Panel, names: Sequence[str], step: bool) -> None:
    values = np.concatenate([np.asarray(curve.y, float) for curve in panel.curves] or [np.empty(0)])
    values = values[np.isfinite(values)].clip(-LARGEST, LARGEST)
    logarithmic = panel.log_y and bool((values > FLOOR).any()) and bool((values >= 0).all())
    top = 1e3 * float(np.abs(values).max(initial=1e-300))
    for curve in panel.curves:
        colour, dash = look(names, curve.label)
        floor = FLOOR if logarithmic else -np.inf
        x, y = np.asarray(curve.x, float).clip(-LARGEST, LARGEST), np.asarray(curve.y, float).clip(floor)
        y = np.where(np.isfinite(y), y.clip(-LARGEST, LARGEST), np.nan)  # the median has diverged: the curve ends
        style: dict[str, Any] = {"drawstyle": "steps-post"} if step else {}
        dot = "o" if len(x) == 1 else None
        axes.plot(x, y, color=colour, ls=dash, lw=1.7, label=_short(curve.label), marker=dot, ms=4, **style)
        if curve.low is not None and curve.high is not None:
            low, high = (np.asarray(ends, float).clip(max(floor, -top), top) for ends in (curve.low, curve.high))
            shape: dict[str, Any] = {"step": "post"} if step else {}
            axes.fill_between(x, low, high, color=colour, alpha=0.16 if len(panel.curves) < 7 else 0.08, lw=0, **shape)
    _limits(axes, panel, values, logarithmic)
    if panel.log_x:
        axes.set_xscale("log")
    elif panel.x == "iteration":
        _iterations(axes, np.unique(np.concatenate([np.asarray(curve.x, float) for curve in panel.curves])))
    if step:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(title=_short(panel.title), xlabel=panel.x, ylabel=panel.y)
    axes.grid(axis="y", color=GRID, lw=0.6)


def _iterations(axes: Axes, times: Any) -> None:
    """The axis of a panel over time: logarithmic beyond 1 where measures are."""
    steps = np.diff(times)
    if len(steps) > 2 and steps[-2] > 5 * steps[0]:
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.set_xlim(left=0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _limits(axes: Axes, panel: Panel, values: Any, logarithmic: bool) -> None:
    """The axis shows all medians, and of the bands what is within a decade, or half the height, of them."""
    ends = [np.asarray(band, float) for curve in panel.curves for band in (curve.low, curve.high) if band is not None]
    seen = np.concatenate([values, *ends])
    seen = seen[np.isfinite(seen)]
    if logarithmic:
        log_scale(axes)
        seen = seen.clip(max(FLOOR, 0.03 * float(values.clip(FLOOR).min())), 30 * float(values.max()))
        axes.set_ylim(seen.min() / 1.5, seen.max() * 1.5)
        if seen.max() < 10 * seen.min():  # fewer words than there are marks
            axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5, 7)))
    elif len(values):
        height = float(np.ptp(values)) or abs(float(values[0])) or 1.0
        seen = seen.clip(values.min() - height / 2, values.max() + height / 2)
        if np.isfinite(height):
            axes.set_ylim(seen.min() - height / 20, seen.max() + height / 20)


def draw_estimates(names: Sequence[str], estimates: Mapping[str, Sequence[Interval]], *, title: str = "") -> Figure:
    """A panel for each aggregate: a dot and the bar of its interval for each group, the first on top."""
    with matplotlib.rc_context(STYLE):
        wide = 2.7 * len(estimates) + 0.075 * _longest(names)
        figure = Figure(figsize=(wide, 1.3 + 0.32 * len(names)), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, color=INK)
        for i, (axes, (heading, values)) in enumerate(
            zip(np.atleast_1d(figure.subplots(1, len(estimates), sharey=True)), estimates.items(), strict=True)
        ):
            _estimates(axes, names, values, share=heading.startswith("share"))
            axes.set_title(heading[:1].upper() + heading[1:])
            if i:
                axes.tick_params(left=False)
        return figure


def _estimates(axes: Axes, names: Sequence[str], values: Sequence[Interval], share: bool) -> None:
    known = np.array([x for triple in values for x in triple if x is not None and np.isfinite(x)] or [1.0])
    known = known.clip(-LARGEST, LARGEST)
    positive = known[known > 0]
    logarithmic = bool((known >= 0).all()) and len(positive) > 0 and bool(known.max() > 20 * max(known.min(), FLOOR))
    if share:
        axes.set_xlim(-0.03, 1.03)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    elif logarithmic:
        axes.set_xscale("log")
        low, high = max(known.min(), FLOOR), known.max()
        room = max(1.15, float((high / low) ** 0.06))
        axes.set_xlim(low / room, high * room)
        if low <= FLOOR:
            axes.axvline(FLOOR, color=QUIET, lw=0.6, ls=":", zorder=0)
            axes.text(FLOOR, 1, "0", transform=axes.get_xaxis_transform(), color=QUIET, fontsize=8, ha="center")
    else:
        room = 0.06 * float(np.ptp(known)) or 0.1 * abs(float(known[0])) or 0.1
        if np.isfinite(room):
            axes.set_xlim(float(known.min()) - room, float(known.max()) + room)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    left, right = axes.get_xlim()
    for row, (name, (value, low_end, high_end)) in enumerate(zip(names, values, strict=True)):
        colour, _ = look(names, name)
        if low_end is not None and high_end is not None and np.isfinite(value):
            ends = np.nan_to_num([low_end, high_end], nan=right, posinf=right, neginf=left).clip(left, right)
            axes.plot(ends, [row, row], color=colour, lw=5, alpha=0.35, solid_capstyle="butt")
        if np.isfinite(value):
            axes.plot([min(max(value, left), right)], [row], "o", color=colour, ms=5.5, clip_on=False)
        else:
            worst: dict[str, Any] = {"x": 0.98, "ha": "right"} if value > 0 else {"x": 0.02, "ha": "left"}
            spot = axes.get_yaxis_transform()
            axes.text(y=row, s="diverged", va="center", color=colour, fontsize=8, transform=spot, **worst)
    _rows(axes, names)


def draw_ranks(
    names: Sequence[str],
    ranks: Sequence[Interval],
    each: Sequence[Sequence[float]] | None,
    better: Any,
    *,
    title: str = "",
) -> Figure:
    """Mean ranks with intervals (small dots: tasks), and the probability that the row is better than the column."""
    count = len(names)
    with matplotlib.rc_context(STYLE):
        side = 1.4 + 0.42 * count
        size = (3.4 + 0.15 * _longest(names) + side, max(2.6, side + 0.035 * _longest(names)))
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, color=INK)
        axes, beside = figure.subplots(1, 2, width_ratios=(3.0, side))
        for row, (name, (value, low, high)) in enumerate(zip(names, ranks, strict=True)):
            colour, _ = look(names, name)
            if each is not None:
                places, counts = np.unique(np.asarray(each[row]), return_counts=True)
                axes.scatter(places, np.full(len(places), row + 0.27), s=5 + 5 * counts, color=QUIET, alpha=0.6, lw=0)
            if low is not None and high is not None:
                axes.plot([low, high], [row, row], color=colour, lw=5, alpha=0.35, solid_capstyle="butt")
            axes.plot([value], [row], "o", color=colour, ms=5.5)
        _rows(axes, names)
        axes.set(
            title="Rank" if each is None else "Mean rank",
            xlabel="1 is best" + ("" if each is None else "; grey: single tasks"),
        )
        axes.set_xlim(0.8, count + 0.2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        image = beside.imshow(better, vmin=0, vmax=1, cmap=SHADES, interpolation="nearest")
        beside.set_xticks(range(count), [_short(n) for n in names], rotation=40, ha="right", rotation_mode="anchor")
        beside.set_yticks(range(count), [_short(n) for n in names])
        beside.set(title="Row better than column")
        beside.tick_params(labelcolor=INK)
        for spine in beside.spines.values():
            spine.set_visible(False)
        beside.tick_params(length=0)
        if count <= WRITTEN:
            for i, j in np.ndindex(count, count):
                if i != j:
                    colour = "white" if abs(better[i, j] - 0.5) > 0.35 else INK
                    beside.text(j, i, f"{better[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
        bar(beside, image, "probability")
        return figure


def look(names: Sequence[str], name: str) -> tuple[str, str]:
    """Colour and dash of a group: its own in every picture of a comparison."""
    i = list(names).index(name)
    return COLOURS[i % len(COLOURS)], ("-", "--")[i // len(COLOURS) % 2]


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="both", color=GRID, lw=0.6)
    axes.set_axisbelow(True)


def _short(name: str) -> str:
    """A name as it is drawn: no mathematics in it, and not endless."""
    name = name if len(name) <= LETTERS else f"{name[: LETTERS - 16]}…{name[-15:]}"
    return name.replace("$", r"\$")


def _longest(names: Sequence[str]) -> int:
    return max((len(_short(name)) for name in names), default=0)
