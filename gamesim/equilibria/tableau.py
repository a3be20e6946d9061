"""The simplex method on a batch of matrix games, all tableaus one tensor: the plain twin of the compiled loop.

With payoffs A > 0 the equilibrium solves a pair of linear programs (Dantzig, 1951)

    max 1^T y'   s.t.  A y' <= 1, y' >= 0          min 1^T x'   s.t.  A^T x' >= 1, x' >= 0

x = x' / sum x', y = y' / sum y' and the value is 1 / sum y'. y' = 0 is where the pivots begin. Entering: the steepest
edge, the column of the largest c_s^2 / (1 + |T_s|^2) (Goldfarb and Reid, Math. Programming 12, 1977). Leaving: the row
that blocks first; where several tie, the one that would if the right-hand side were 1 + eps e with generic e and
infinitesimal eps, so that no basis comes twice (Charnes, Econometrica 20, 1952).
"""

import torch
from torch import Tensor

COST, PIVOT, TIE, ZERO = 1e-11, 1e-9, 1e-12, 1e-13  # as in gamesim.kernels.zero_sum_loops
"""Below these a cost does not enter, an entry is no pivot, ratios tie and a basic variable is zero."""


def solve(payoffs: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Strategies x[g, m] and y[g, n] of games with payoffs[g, m, n] in [1, 2]; uniform where nothing was found."""
    count, m, n = payoffs.shape
    T = payoffs.new_zeros(count, m + 1, n + 2)  # the last row is the cost, the last columns are 1 and e
    T[:, :m, :n] = payoffs
    T[:, m, :n] = 1
    T[:, :m, n] = 1
    T[:, :m, n + 1] = 1 + torch.arange(2, m + 2).to(T).sqrt().remainder(1)  # e: any numbers without pattern
    names = torch.arange(m + n, device=T.device).repeat(count, 1)  # of columns, then of rows; from n on they are slacks
    running = torch.arange(count, device=T.device)
    for _ in range(limit):
        T[running], names[running], pivoted = pivot(T[running], names[running])
        running = running[pivoted]
        if not len(running):
            break
    found = payoffs.new_zeros(count, m + n)
    found.scatter_(1, names, torch.cat([-T[:, m, :n], T[:, :m, n]], 1).clamp(min=0))
    # a column that stays outside has y' = 0, a row whose slack stays inside x' = 0: keep the two solutions apart
    outside = torch.zeros_like(found, dtype=torch.bool).scatter_(1, names[:, :n], True)
    y, x = found[:, :n].masked_fill(outside[:, :n], 0), found[:, n:].masked_fill(~outside[:, n:], 0)
    return normalise(x), normalise(y)


def pivot(T: Tensor, names: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One pivot of each tableau[g, m + 1, n + 2], the names after it, and which games had one to make."""
    game, m, n = torch.arange(len(T), device=T.device), T.shape[1] - 1, T.shape[2] - 2
    cost = T[:, m, :n]
    price = torch.where(cost > COST, cost**2 / (1 + (T[:, :m, :n] ** 2).sum(1)), 0.0)
    s = price.argmax(-1)
    column = T[game, :, s]
    blocking = column[:, :m] > PIVOT
    ratio = torch.where(blocking, T[:, :m, n] / column[:, :m], torch.inf)
    tied = blocking & (ratio <= ratio.amin(-1, keepdim=True) + TIE)
    r = torch.where(tied, T[:, :m, n + 1] / column[:, :m], torch.inf).argmin(-1)
    row = T[game, r] / column[game, r, None]
    row[game, s] = 1 / column[game, r]
    column[game, r] = -1
    after = T.clone()
    after[game, :, s] = 0
    after[game, r] = 0
    after -= column[:, :, None] * row[:, None, :]
    after[:, :m, n] = torch.where(after[:, :m, n] > ZERO, after[:, :m, n], 0.0)
    swapped = names.clone()
    swapped[game, s], swapped[game, n + r] = names[game, n + r], names[game, s]
    pivoted = (price.amax(-1) > 0) & blocking.any(-1)
    return torch.where(pivoted[:, None, None], after, T), torch.where(pivoted[:, None], swapped, names), pivoted


def normalise(x: Tensor) -> Tensor:
    """x / sum x over the last dimension, uniform where the sum is no positive number."""
    total = x.sum(-1, keepdim=True)
    return torch.where((total > 0) & total.isfinite(), x / total, 1 / x.shape[-1])
