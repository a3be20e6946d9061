"""Figures of normal-form games: payoffs with best responses, equilibria, and where learners ended.

Of two players with two actions each the square of mixed profiles, with both best-response curves; of three actions the
triangle of a player's policies; otherwise probabilities action by action.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gamesim.equilibria.listing import Listing, payoffs_of
from gamesim.errors import refuse
from gamesim.figures.style import COLOURS, INK, QUIET, STYLE, bar
from gamesim.games import NormalFormGame

WRITTEN = 8
"""Actions of a player up to which payoffs are written out; beyond they are coloured."""
LISTED = 12
"""Equilibria in one picture, at most."""
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]])
Rows = Sequence[Any]


def draw_game(game: NormalFormGame, found: Listing) -> Figure:
    """A small game: its payoffs, and its equilibria beside them.

    >>> from gamesim.equilibria.listing import find_equilibria
    >>> from gamesim.games import MatrixGame
    >>> pennies = MatrixGame.zero_sum([[1, -1], [-1, 1]])
    >>> type(draw_game(pennies, find_equilibria(pennies))).__name__
    'Figure'
    """
    u, counts = payoffs_of(game)[0], game.action_counts
    if sum(counts) > 200:
        raise refuse("game", f"{sum(counts)} actions in all", "at most 200, to be drawn")
    profiles = [e.probabilities for e in found.equilibria[:LISTED]]
    small = counts == (2, 2)
    triangles = [i for i, count in enumerate(counts) if count == 3] if len(counts) == 2 else []
    with matplotlib.rc_context(STYLE):
        parts = int(len(counts) == 2) + (1 if small or not triangles else len(triangles))
        figure = Figure(figsize=(4.6 * parts, 4.1), layout="constrained")
        title = getattr(game, "title", "") or type(game).__name__
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
        axes = list(np.atleast_1d(figure.subplots(1, parts)))
        if len(counts) == 2:
            draw_payoffs(axes.pop(0), u, game.players, game.actions, [e.profile for e in found.pure])
        if small:
            draw_square(axes[0], u, profiles, game.players, game.actions)
        elif triangles:
            for place, i in zip(axes, triangles, strict=True):
                draw_triangle(place, np.array([x[i] for x in profiles]).reshape(-1, 3), game.actions[i])
                place.set_title(f"Equilibrium policies of {game.players[i]}")
        else:
            draw_bars(axes[0], profiles, game.players, game.actions)
        return figure


def draw_payoffs(axes: Axes, u: Any, players: Sequence[str], actions: Sequence[Sequence[str]], pure: Rows) -> None:
    """The bimatrix: best responses in bold, pure equilibria framed; colours where it is too large to be read."""
    rows, columns = u.shape[1:]
    axes.set_title("Payoffs")
    if max(rows, columns) > WRITTEN:
        image = axes.imshow(u[0], cmap="viridis", interpolation="nearest", aspect="auto")
        axes.set(xlabel=players[1], ylabel=players[0])
        bar(axes, image, f"payoff of {players[0]}")
        for a, b in pure:
            axes.plot(b, a, "s", mfc="none", mec="white", mew=1.4, ms=7)
        return
    first, second = u[0] == u[0].max(0, keepdims=True), u[1] == u[1].max(1, keepdims=True)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=range(columns), yticks=range(rows))
    axes.set_xticklabels(actions[1], color=INK)
    axes.set_yticklabels(actions[0], color=INK)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel(players[1])
    axes.xaxis.set_label_position("top")
    axes.set_ylabel(players[0])
    for k in range(1, rows):
        axes.axhline(k - 0.5, color="#e6e8eb", lw=0.8)
    for k in range(1, columns):
        axes.axvline(k - 0.5, color="#e6e8eb", lw=0.8)
    size = 12 if max(rows, columns) <= 4 else 8
    for a in range(rows):
        for b in range(columns):
            for best, value, side, colour in (
                (
                    first[a, b],
                    u[0, a, b],
                    -1,
                    COLOURS[0],
                ),  # the row player below on the left, as bimatrices are written
                (second[a, b], u[1, a, b], 1, COLOURS[1]),
            ):
                style: dict[str, Any] = {"weight": "bold" if best else "normal", "color": colour, "fontsize": size}
                align = "left" if side < 0 else "right"
                axes.text(b + 0.38 * side, a - 0.2 * side, f"{value:.3g}", ha=align, va="center", **style)
    for a, b in pure:
        axes.add_patch(Rectangle((b - 0.46, a - 0.44), 0.92, 0.88, fill=False, ec=INK, lw=1.4))


def draw_square(axes: Axes, u: Any, profiles: Rows, players: Sequence[str], actions: Sequence[Sequence[str]]) -> None:
    """Both best-response curves of a 2 x 2 game over (probability of the first actions), and where they meet."""
    grid = np.linspace(0, 1, 15)
    p, q = np.meshgrid(grid, grid)
    gain_first = _advantage(u[0], q)
    gain_second = _advantage(u[1].T, p)
    if np.abs(gain_first).max() + np.abs(gain_second).max() > 0:
        moves = p * (1 - p) * gain_first, q * (1 - q) * gain_second
        axes.quiver(p, q, *moves, color="#c9cdd3", width=0.004, pivot="mid")
    line = np.linspace(0, 1, 2001)
    for gain, label, colour, flip in (
        (_advantage(u[0], line), f"best responses of {players[0]}", COLOURS[0], True),
        (_advantage(u[1].T, line), f"best responses of {players[1]}", COLOURS[1], False),
    ):
        best = (gain > 0).astype(float)
        ends = np.where(np.diff(best) != 0)[0]
        place, reply = np.insert(line, ends + 1, line[ends]), np.insert(best, ends + 1, best[ends + 1])
        if np.abs(gain).max() == 0:
            continue  # indifferent everywhere: the whole square
        axes.plot(*((reply, place) if flip else (place, reply)), color=colour, lw=2, label=label)
    for x in profiles:
        axes.plot(x[0][0], x[1][0], "o", color=INK, ms=7, zorder=5, clip_on=False)
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
        xlabel=f"{players[0]} plays {actions[0][0]}",
        ylabel=f"{players[1]} plays {actions[1][0]}",
    )
    axes.set_title("Equilibria, and where replicators go")
    if axes.get_lines()[: -len(profiles) or None]:
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _advantage(own: Any, other: Any) -> Any:
    """What the first action earns more than the second, against the other's probability of its first."""
    return other * (own[0, 0] - own[1, 0]) + (1 - other) * (own[0, 1] - own[1, 1])


def draw_triangle(axes: Axes, policies: Any, names: Sequence[str], small: bool = False) -> None:
    """Policies [n, 3] of one player in the triangle."""
    axes.fill(*CORNERS.T, facecolor="#f5f6f8", edgecolor=QUIET, lw=1)
    for corner, name, align in zip(CORNERS, names, ("right", "left", "center"), strict=True):
        x, y = corner + (corner - CORNERS.mean(0)) * 0.1
        axes.text(x, y, name, ha=align, va="center", fontsize=8, color=INK)
    if len(policies):
        points = np.asarray(policies) @ CORNERS
        style: dict[str, Any] = {"ms": 3, "alpha": 0.4, "color": COLOURS[0]} if small else {"ms": 8, "color": INK}
        axes.plot(points[:, 0], points[:, 1], "o", zorder=5, clip_on=False, mew=0, **style)
    axes.set(aspect="equal", xlim=(-0.25, 1.25), ylim=(-0.15, 1.02))
    axes.set_axis_off()


def draw_bars(axes: Axes, profiles: Rows, players: Sequence[str], actions: Sequence[Sequence[str]]) -> None:
    """Equilibria as rows, the actions of all players as columns, shaded by probability."""
    axes.set_title("Equilibria")
    if not profiles:
        axes.text(0.5, 0.5, "none found", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set(xticks=[], yticks=[])
        return
    table = np.array([np.concatenate(x) for x in profiles])
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    edges = np.cumsum([len(names) for names in actions])
    for edge in edges[:-1]:
        axes.axvline(edge - 0.5, color=INK, lw=1)
    middles = edges - np.array([len(names) for names in actions]) / 2 - 0.5
    axes.set_xticks(middles, players)
    axes.set_yticks(range(len(profiles)))
    axes.set(ylabel="equilibrium", xlabel="player, action by action")
    bar(axes, image, "probability")


def draw_ends(axes: Axes, policies: Rows, players: Sequence[str], actions: Sequence[Sequence[str]]) -> None:
    """Where the runs of a batch ended: policies[i][seed, a]."""
    counts = [p.shape[-1] for p in policies]
    axes.set_title(f"Where {policies[0].shape[0]:,} runs ended" if policies[0].shape[0] > 1 else "Where it ended")
    if counts == [2, 2]:
        axes.plot(policies[0][:, 0], policies[1][:, 0], "o", ms=5, alpha=0.35, mew=0, color=COLOURS[0], clip_on=False)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel=f"{players[0]} plays {actions[0][0]}", ylabel=f"{players[1]} plays {actions[1][0]}")
        ends = np.stack([policies[0][:, 0], policies[1][:, 0]], -1)
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = float((np.abs(ends - corner).max(-1) < 0.05).mean())
            if share > 0 and len(ends) > 1:  # many runs in one place look like one
                x, y = (0.04 if c == 0 else 0.96 for c in corner)
                sides: Any = {"ha": "left" if corner[0] == 0 else "right", "va": "bottom" if corner[1] == 0 else "top"}
                axes.text(x, y, f"{share:.3g} of them", fontsize=8, color=INK, **sides)
        return
    if counts[0] == 3 and len(counts) <= 2:
        draw_triangle(axes, policies[0], actions[0], small=policies[0].shape[0] > 1)
        return
    means = np.concatenate([np.asarray(p).mean(0) for p in policies])
    spread = np.concatenate([np.percentile(p, (25, 75), axis=0) for p in policies], axis=1)
    place = np.arange(len(means))
    colours = [COLOURS[i % len(COLOURS)] for i, count in enumerate(counts) for _ in range(count)]
    axes.bar(place, means, color=colours, alpha=0.85)
    axes.vlines(place, *spread, color=INK, lw=1)
    edges = np.cumsum(counts)
    axes.set_xticks(edges - np.array(counts) / 2 - 0.5, players)
    axes.set(ylim=(0, 1), ylabel="probability", xlabel="player, action by action")
