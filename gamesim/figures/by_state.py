"""Figures of games with states: what each player plays in every state, a row for each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gamesim.figures.style import bar

NAMED = 6
"""Actions of a player up to which all names are written; beyond, the first and the last."""


MOST = 200
"""Rows of a picture; of more states neighbours are averaged, since pixels would show some and leave out others."""


def draw_policies(
    places: Sequence[Axes], parts: dict[str, Any], words: dict[str, list[str]], runs: int = 1, longest: int = 24
) -> None:
    """Probabilities states.i[s, a] of player i in the i-th place, means over so many runs; long names are cut."""
    for i, (axes, player) in enumerate(zip(places, words["players"], strict=True)):
        names, policy = [shortened(name, longest // 2) for name in words[f"actions.{i}"]], parts[f"states.{i}"]
        rows = mean_rows(policy) if len(policy) > MOST else policy
        frame = (-0.5, policy.shape[1] - 0.5, len(policy) - 0.5, -0.5)
        image = axes.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=frame)
        axes.set_title(f"Player {player}" if player.isdecimal() else player)
        axes.set_xlabel("action")
        few = len(names) <= NAMED
        axes.set_xticks(range(len(names)) if few else [0, len(names) - 1])
        slanted = few and max(map(len, names)) > 4
        axes.set_xticklabels(
            names if few else [names[0], names[-1]],
            rotation=45 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor" if slanted else "default",
        )
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        if words.get("states"):
            axes.set_yticks(range(len(policy)), [shortened(s, longest) for s in words["states"]] if i == 0 else [])
        elif i > 0:
            axes.tick_params(labelleft=False)
        if i == 0:
            axes.set_ylabel("state")
    bar(places[-1], image, "probability" if runs == 1 else f"probability, mean of {runs:,} runs")


def mean_rows(policy: Any) -> Any:
    """[MOST, a]: means over states that stand next to each other."""
    first = np.linspace(0, len(policy), MOST, endpoint=False).astype(int)
    return np.add.reduceat(policy, first, axis=0) / np.diff([*first, len(policy)])[:, None]


def shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
