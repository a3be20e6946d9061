"""How figures look: colours, sizes, words; and the pieces that several of them share."""

from typing import Any

import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

INK, QUIET = "#1b1b1e", "#8a8f98"
COLOURS = ("#0b6e99", "#d1603d", "#3d8b5f", "#8452a8", "#b8860b", "#5b6770", "#c2416b")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "svg.hashsalt": "gamesim",
}
WORDS = {
    "exploitability": "exploitability",
    "regularized_exploitability": "regularized exploitability",
    "distance": "distance to equilibrium",
    "residual": "residual",
    "gap": "gap to the best direction",
    "worst_gain": "largest gain in any state",
}
"""Metrics that fall to 0, and are drawn on a log scale."""
GROWING = {"regret": "regret so far"}
"""Metrics that add up."""
FLOOR = 1e-17  # what is drawn where a measure is exactly zero


def bar(axes: Axes, mappable: Any, label: str) -> None:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(mappable, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)


def log_scale(axes: Axes) -> None:
    """A log scale for what has been drawn: plain numbers where they are close, and a line where exact zeros are."""
    axes.set_yscale("log")
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()] or [np.empty(0)])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    if len(drawn) == 0:
        return
    if drawn.min() <= FLOOR:
        axes.axhline(FLOOR, color=QUIET, lw=0.6, ls=":", zorder=0)
        axes.text(1, FLOOR, "0", transform=axes.get_yaxis_transform(), color=QUIET, fontsize=8, va="center")
    elif drawn.max() < 10 * drawn.min():  # matplotlib would write 2.4 x 10^0
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(
            StrMethodFormatter("{x:g}") if drawn.max() < 5 * drawn.min() else NullFormatter()
        )


def names_or_numbers(words: list[str], count: int, what: str) -> list[str]:
    return words if len(words) == count else [f"{what} {i}" for i in range(count)]
