"""Many small zero-sum games that are solved again and again while they change a little: all in one batch, warm.

With payoffs A > 0 an optimal basis is as many rows R as columns C on which both players' strategies make the other
indifferent,

    A_RC y_C = v 1,    x_R^T A_RC = v 1^T,    x and y zero elsewhere

(Shapley and Snow, 1950). A basis stays optimal while payoffs change a little, so the one found last is tried first: one
factorisation, and the gap max_r (A y)_r - min_s (A^T x)_s, which is 0 exactly if it still is. Where it is not, simplex
pivots begin anew (`gamesim.equilibria.tableau`), and what these leave open goes to HiGHS.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.equilibria.tableau import normalise
from gamesim.equilibria.zero_sum import EXACT, by_simplex, judged, normalised, solve_zero_sum
from gamesim.kernels import shapley as fused

KEPT = 1e-13  # as in gamesim.kernels.shapley_loops
"""The gap, relative to the payoff range, up to which a basis is kept."""


@dataclass(frozen=True)
class Stages:
    """Equilibria of stage games, [..., s]."""

    value: Tensor
    """[..., s]."""
    row: Tensor
    """x[..., s, a1], maximises."""
    column: Tensor
    """y[..., s, a2], minimises."""
    gap: Tensor
    """max_r (A y)_r - min_s (A^T x)_s, [..., s]; values are no further than half of it from the truth."""
    basis: Tensor
    """Which rows, then which columns are basic: bool[..., s, a1 then a2]; none where none is known."""


def no_basis(payoffs: Tensor) -> Tensor:
    """The basis of games [..., m, n] that were not solved before."""
    return torch.zeros((*payoffs.shape[:-2], sum(payoffs.shape[-2:])), dtype=torch.bool, device=payoffs.device)


def solve_stages(payoffs: Tensor, basis: Tensor) -> Stages:
    """An equilibrium of each game payoffs[..., m, n], float64, from the bases of games not far from them."""
    batch, (m, n) = payoffs.shape[:-2], payoffs.shape[-2:]
    games, old = payoffs.reshape(-1, m, n), basis.reshape(-1, m + n)
    if m > n:  # the inner loops run along the longer side
        value, y, x, gap, relative, new = _solved(-games.mT.contiguous(), old.roll(n, -1))
        value, new = -value, new.roll(m, -1)
    else:
        value, x, y, gap, relative, new = _solved(games, old)
    found = (value, x, y, gap)
    opened = (~(relative <= EXACT)).nonzero()[:, 0]
    if len(opened):
        exact = solve_zero_sum(games[opened])
        for ours, theirs in zip(found, (exact.value, exact.row, exact.column, exact.gap), strict=True):
            ours[opened] = theirs
        new[opened] = False
    shapes = ((), (m,), (n,), (), (m + n,))
    return Stages(*(each.reshape(*batch, *shape) for each, shape in zip((*found, new), shapes, strict=True)))


def _solved(games: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Value, strategies, gap, gap relative to the payoff range, and basis of games[g, m, n]."""
    if fused.serves(games):
        return fused.solve(games, basis, 100 + 20 * sum(games.shape[-2:]))
    found = judged(games, *on_basis(normalised(games)[0] + 1, basis))
    basis = basis.clone()
    anew = (~(found[4] <= KEPT)).nonzero()[:, 0]
    if len(anew):
        better = by_simplex(games[anew])
        for ours, theirs in zip(found, better, strict=True):
            ours[anew] = theirs
        rows, columns = better[1] > 0, better[2] > 0
        basis[anew] = torch.cat([rows, columns], -1) & (rows.sum(-1) == columns.sum(-1))[:, None]
    return *found, basis


def on_basis(payoffs: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """x[g, m] and y[g, n] that make basic rows and columns of payoffs[g, m, n] equally good; uniform where none do."""
    m, n = payoffs.shape[-2:]
    size = min(m, n)
    rows, columns = ((~side).byte().argsort(dim=-1, stable=True)[:, :size] for side in basis.split([m, n], -1))
    count = basis[:, :m].sum(-1)
    fits = count == basis[:, m:].sum(-1)
    inside = torch.arange(size, device=payoffs.device) < torch.where(fits, count, 0)[:, None]
    square = payoffs.gather(1, rows[:, :, None].expand(-1, -1, n)).gather(2, columns[:, None].expand(-1, size, -1))
    identity = torch.eye(size, dtype=payoffs.dtype, device=payoffs.device)
    square = torch.where(inside[:, :, None] & inside[:, None, :], square, identity)
    ones = inside.to(payoffs)[:, :, None]
    y, x = (torch.linalg.solve_ex(matrix, ones)[0][:, :, 0].clamp(min=0) for matrix in (square, square.mT))
    back = (payoffs.new_zeros(len(payoffs), m).scatter_(1, rows, x), payoffs.new_zeros(len(payoffs), n))
    return normalise(back[0]), normalise(back[1].scatter_(1, columns, y))
