"""Stage games by compiled loops, with the bases of the last sweep: stands in for gamesim.equilibria.stages."""

from torch import Tensor

from gamesim.kernels import allowed, plain


def serves(payoffs: Tensor) -> bool:
    """Whether the loop may stand in for torch on payoffs[..., r, s]."""
    return allowed() and plain(payoffs)


def solve(payoffs: Tensor, basis: Tensor, limit: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Value, x[g, r], y[g, s], gap, gap / payoff range and the new basis[g, r then s] of payoffs[g, r, s]."""
    from gamesim.kernels import shapley_loops

    count, m, n = payoffs.shape
    after = basis.clone()
    rows, columns = payoffs.new_empty(count, m), payoffs.new_empty(count, n)
    value, gap, relative = payoffs.new_empty(3, count).unbind()
    out = (after.numpy(), rows.numpy(), columns.numpy(), value.numpy(), gap.numpy(), relative.numpy())
    shapley_loops.solve(payoffs.contiguous().numpy(), *out, limit)
    return value, rows, columns, gap, relative, after
