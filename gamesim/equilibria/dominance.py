"""Iterated elimination of actions that another action strictly dominates.

Action b of player i strictly dominates a where u_i(b; a_-i) > u_i(a; a_-i) for every a_-i. No equilibrium plays a, so
the game that is left has the same ones; a game of which one profile is left has no other. The order of elimination does
not matter (Gilboa, Kalai and Zemel, Operations Research Letters 9, 1990).
"""

import numpy as np

from gamesim.equilibria.exact import Floats

ROUNDING = 4 * float(np.finfo(np.float64).eps)
"""Relative error of a comparison of two payoffs that were rounded from exact ones, with room to spare."""


def undominated(u: Floats, rounded: bool = False) -> list[list[int]]:
    """The actions of each player that survive, for u[player, a1, ..., an].

    With `rounded` the floats stand for other, exact numbers, and only what rounding cannot overturn is eliminated.

    >>> undominated(np.array([[[2.0, 0.0], [3.0, 1.0]], [[2.0, 3.0], [0.0, 1.0]]]))
    [[1], [1]]
    """
    kept = [list(range(count)) for count in u.shape[1:]]
    guard = ROUNDING * np.abs(u).max() if rounded else 0.0
    while True:
        survivors = []
        for i in range(len(kept)):
            own = np.moveaxis(u[i][np.ix_(*kept)], i, 0).reshape(len(kept[i]), -1)
            dominated = np.zeros(len(own), dtype=bool)
            for better in own:
                dominated |= (better > own + guard).all(-1)
            survivors.append([a for a, gone in zip(kept[i], dominated, strict=True) if not gone])
        if survivors == kept:
            return kept
        kept = survivors
