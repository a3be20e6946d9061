"""Equilibria of a two-player game by support enumeration, independent of the vertices of polytopes.

In a game that is not degenerate both supports of an equilibrium have the same size, and the weights solve

    A[I, J] z = 1,  y = z / sum z          B[I, J]^T w = 1,  x = w / sum w        (A, B made positive)

with no better answer outside I and J. All pairs of supports are tried in batches in floating point, with room for
rounding; what is left is solved in whole numbers. Dickhaut and Kaplan, The Mathematica Journal 1 (1991); Porter,
Nudelman and Shoham, Games and Economic Behavior 63 (2008).
"""

import math
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from gamesim.equilibria.exact import (
    Floats,
    Payoffs,
    Rational,
    Whole,
    bimatrix_array,
    equalising_weights,
    fractions_of,
    whole,
)
from gamesim.equilibria.profiles import Equilibria, Equilibrium, judge, payoff_vectors
from gamesim.errors import refuse

ROOM = 1e-6
"""Slack of the test in floating point, for payoffs between 1 and 2."""
BATCH = 2**15
"""Pairs of supports in one batch."""
PAIRS = 10**7
"""Pairs of supports that are tried, at most."""


def support_enumeration(A: Payoffs, B: Payoffs, rational: Rational | None = None) -> Equilibria:
    """Every equilibrium with supports of equal size that its equations determine: all, unless the game is degenerate.

    >>> len(support_enumeration([[3, 0], [0, 2]], [[2, 0], [0, 3]]))
    3
    """
    u = bimatrix_array(A, B)
    m, n = u.shape[1:]
    pairs = sum(math.comb(m, k) * math.comb(n, k) for k in range(1, min(m, n) + 1))
    if pairs > PAIRS:
        raise refuse("A", f"shape {[m, n]}", f"at most {PAIRS:,} pairs of supports, here {pairs:,}; try all_equilibria")
    game = [whole(fractions_of(u, rational, player)) for player in range(2)]
    found: dict[object, Equilibrium] = {}
    degenerate, singular = False, False
    for rows, columns in _plausible(_scaled(u)):
        weights = equalised(game, rows, columns)
        if weights is None:
            singular = True
        elif min(map(min, weights)) >= 0:
            equilibrium = judge(game, weights)
            if equilibrium.max_regret == 0:
                found[equilibrium.profile] = equilibrium
                degenerate |= tied(game, weights)
    equilibria = tuple(sorted(found.values(), key=lambda each: each.profile, reverse=True))
    if degenerate:
        message = "the game is degenerate: supports of unequal size and continua were not searched; use all_equilibria"
    elif singular:
        message = "some pairs of supports have equations without a single answer: more equilibria cannot be ruled out"
    else:
        message = "all equilibria: every pair of supports of equal size was decided and none is degenerate"
    return Equilibria(equilibria, not (degenerate or singular), degenerate, message)


def _scaled(u: Floats) -> Tensor:
    low, high = u.min((1, 2), keepdims=True), u.max((1, 2), keepdims=True)
    return torch.from_numpy((u - low) / np.where(high > low, high - low, 1.0) + 1)


def _plausible(u: Tensor) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The pairs of supports that floating point cannot rule out."""
    (m, n), found = u.shape[1:], []
    for k in range(1, min(m, n) + 1):
        rows = torch.tensor(list(combinations(range(m), k)))
        columns = torch.tensor(list(combinations(range(n), k)))
        for places in torch.arange(len(rows) * len(columns)).split(BATCH):
            i, j = rows[places // len(columns)], columns[places % len(columns)]
            for own, (a, b) in ((u[0], (0, 1)), (u[1].T, (1, 0))):
                pair = (i, j)
                kept = _may_equalise(own, pair[a], pair[b])
                i, j = i[kept], j[kept]
            found += [(tuple(r), tuple(c)) for r, c in zip(i.tolist(), j.tolist(), strict=True)]
    return found


def _may_equalise(u: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Whether weights on other[b, k] may make own[b, k] the best rows of u[a, c]: [b], true where in doubt."""
    block = u[own[:, :, None], other[:, None, :]]
    ones = block.new_ones(*own.shape, 1)
    z, info = torch.linalg.solve_ex(block, ones)
    z = z.squeeze(-1)
    largest = z.abs().amax(-1)
    doubtful = (info != 0) | ~(largest < 1 / ROOM)
    values = torch.einsum("abk,bk->ba", u[:, other], z)
    good = (z >= -ROOM * largest[:, None]).all(-1) & (values <= 1 + ROOM).all(-1)
    return torch.logical_or(good, doubtful)


def equalised(game: list[Whole], rows: tuple[int, ...], columns: tuple[int, ...]) -> list[list[int]] | None:
    """Whole numbers in proportion to x and y, or None where the equations have no single answer."""
    block = np.ix_(rows, columns)
    x, y = equalising_weights(game[1].matrix[block].T), equalising_weights(game[0].matrix[block])
    if x is None or y is None:
        return None
    weights = [[0] * count for count in game[0].matrix.shape]
    for row, support, z in zip(weights, (rows, columns), (x, y), strict=True):
        for a, w in zip(support, z, strict=True):
            row[a] = w
    return weights


def tied(game: list[Whole], weights: list[list[int]]) -> bool:
    """Whether a player has more best responses than the other player mixes actions."""
    values = payoff_vectors([u.matrix for u in game], [np.array(w, dtype=object) for w in weights])
    mixed = [sum(w > 0 for w in row) for row in weights]
    best = [int((v == v.max()).sum()) for v in values]
    return best[0] > mixed[1] or best[1] > mixed[0]
