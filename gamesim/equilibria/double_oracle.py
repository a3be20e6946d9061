"""Large matrix games by small ones: solve the game on a few actions, add everybody's better ones, until there are none.

McMahan, Gordon and Blum, "Planning in the presence of cost functions controlled by an adversary", ICML 2003. An
equilibrium of the game on rows R and columns C is one of the whole game once no other action answers it better. Here R
and C begin as the actions that come near to being best responses to an approximate equilibrium, which holds nearly all
that matter, so that two or three small games are enough; and all the better actions join, not only the best.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gamesim.equilibria import first_order

NEAR = 3.0  # an action begins in the small game if it loses no more than so many gaps
PROGRESS = 1e-12  # an action that gains less does not join


def solve(payoffs: Tensor, small: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Strategies x[m] and y[n] of one game payoffs[m, n] in [0, 1]; `small` solves games on fewer actions."""
    m, n = payoffs.shape
    start = 0.5 / min(m, n)  # later, fewer actions are left over, but the start takes longer
    (x,), (y,) = first_order.approximate(payoffs[None], start)
    gain, loss = payoffs @ y, payoffs.mT @ x
    value = (gain.max() + loss.min()) / 2
    gap = (gain.max() - loss.min()).clamp(min=start)
    rows, columns = gain >= value - NEAR * gap, loss <= value + NEAR * gap
    while True:
        R, C = rows.nonzero()[:, 0], columns.nonzero()[:, 0]
        on_R, on_C = small(payoffs[R][:, C])
        x, y = torch.zeros_like(x).index_put((R,), on_R), torch.zeros_like(y).index_put((C,), on_C)
        gain, loss = payoffs @ y, payoffs.mT @ x
        more_rows = rows | (gain > gain[R].max() + PROGRESS)
        more_columns = columns | (loss < loss[C].min() - PROGRESS)
        if bool((more_rows == rows).all()) and bool((more_columns == columns).all()):
            return x, y
        rows, columns = more_rows, more_columns
