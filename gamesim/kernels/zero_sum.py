"""Zero-sum matrix games by compiled simplex pivots, thousands a call: stands in for gamesim.equilibria.tableau."""

from torch import Tensor

from gamesim.kernels import allowed, plain


def serves(payoffs: Tensor) -> bool:
    """Whether the loop may stand in for torch on payoffs[..., r, s]."""
    return allowed() and plain(payoffs)


def solve(payoffs: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Value, strategies x[g, r] and y[g, s], gap and gap / payoff range of payoffs[g, r, s]; at most limit pivots."""
    from gamesim.kernels import zero_sum_loops

    count, m, n = payoffs.shape
    rows, columns = payoffs.new_empty(count, m), payoffs.new_empty(count, n)
    value, gap, relative = payoffs.new_empty(3, count).unbind()
    out = (rows.numpy(), columns.numpy(), value.numpy(), gap.numpy(), relative.numpy())
    zero_sum_loops.solve(payoffs.contiguous().numpy(), *out, limit)
    return value, rows, columns, gap, relative
