"""Figures of tournaments: who gets what of whom, as a coloured table, and the scores beside it."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gamesim.errors import refuse
from gamesim.figures.style import COLOURS, INK, STYLE, bar
from gamesim.planning.tournament import Standings

WRITTEN = 14
"""Entrants up to which payoffs are written into the table."""
DRAWN = 60


def draw_tournament(standings: Standings, title: str = "") -> Figure:
    """The cross table, rows by rank, and mean payoffs with 95% intervals over seeds."""
    count = len(standings.names)
    if count > DRAWN:
        raise refuse("entrants", count, f"at most {DRAWN}, to be drawn")
    data, order = standings.plain()["entrants"], standings.ranking
    names = [standings.names[i] for i in order]
    table = standings.payoffs.mean(-1)[order][:, order].numpy()
    size = 1.6 + 0.55 * count
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size + 4.2, max(2.8, size - 0.4)), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
        axes, beside = figure.subplots(1, 2, width_ratios=(size, 3.4))
        image = axes.imshow(table, cmap="viridis", interpolation="nearest")
        axes.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), names)
        axes.set(title="Payoff per round of the row", xlabel="against")
        if count <= WRITTEN:
            middle = (table.min() + table.max()) / 2
            for i, j in np.ndindex(table.shape):
                colour = "white" if table[i, j] < middle else INK
                axes.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=7, color=colour)
        bar(axes, image, "payoff per round")
        means = [data[i]["payoff"]["mean"] for i in order]
        half = [data[i]["payoff"]["half"] or 0.0 for i in order]
        place = range(count)
        beside.errorbar(means, place, xerr=half, fmt="o", color=COLOURS[0], ecolor=INK, elinewidth=1, ms=5)
        beside.set_yticks(place, names)
        beside.invert_yaxis()
        beside.set(title="Mean over opponents", xlabel="payoff per round")
        beside.grid(axis="x", color="#e6e8eb", lw=0.6)
        return figure
