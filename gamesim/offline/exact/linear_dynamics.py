"""Linear dynamics that are equivariant under permutations of agents, with Gaussian errors: everything in closed form.

    s_i' = A s_i + B a_i + C mean(s) + e_i,    e_i ~ N(0, sigma^2 I)    W = [A B C], x_i = (s_i, a_i, mean(s))
    r    = -(1/N) sum_i ( |s_i|^2 + effort |a_i|^2 ) - together |mean(s)|^2

Maximum likelihood is least squares over the n N rows, W = (sum s' x^T)(sum x x^T)^-1. With P numbers in W it is off on
the data by (1/n) sum_k |F_hat - F|_F^2 = sigma^2 chi^2_P / n in law, whatever N: the error of one agent falls like
1 / sqrt(N), and that of the whole state, |.|_F, is flat. Under a_i = K s_i + L mean(s) the mean and what is around it
are two linear systems of their own, so that with M = A + B K and H = M + C + B L

    J = -mean(s)^T X mean(s) - tr(Y mean y y^T) - discount / (1 - discount) sigma^2 (tr X / N + tr Y (1 - 1/N))
    Y = I + effort K^T K + discount M^T Y M
    X = (1 + together) I + effort (K + L)^T (K + L) + discount H^T X H
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.shapes import broadcast_shapes


@dataclass(frozen=True)
class Costs:
    """What a state and an action cost."""

    effort: float = 0.1
    together: float = 1.0
    discount: float = 0.8
    sigma: float = 0.3


def rows(states: Tensor, actions: Tensor) -> Tensor:
    """x_i = (s_i, a_i, mean(s))[..., n, N, p]."""
    return torch.cat([states, actions, states.mean(-2, keepdim=True).expand_as(states)], -1)


def fit(regressors: Tensor, after: Tensor) -> Tensor:
    """W[..., d, p] by least squares from x[..., n, N, p] and s'[..., n, N, d], all problems of a batch together."""
    x, y = regressors.flatten(-3, -2), after.flatten(-3, -2)
    gram = x.mT @ x
    if bool((torch.linalg.matrix_rank(gram, hermitian=True) < x.shape[-1]).any()):
        wanted = f"more transitions, or agents that are not all alike: {x.shape[-1]} regressors do not differ"
        raise refuse("states", f"{x.shape[-2]} rows", wanted)
    found: Tensor = torch.linalg.solve(gram, x.mT @ y)
    return found.mT


def predicted(weights: Tensor, regressors: Tensor) -> Tensor:
    """F(S, A)[..., n, N, d] for W[..., d, p]."""
    return regressors @ weights.mT[..., None, :, :]


def returns(weights: Tensor, policy: Tensor, mean: Tensor, spread: Tensor, agents: int, costs: Costs) -> Tensor:
    """J[...] for W[..., d, 2 d + e] and [K L][..., e, 2 d].

    The start has mean(s) = mean[..., d] and mean y y^T = spread[..., d, d] around it. Minus infinity where costs grow
    faster than the discount takes them back.
    """
    d = weights.shape[-2]
    a, b, c = weights[..., :d], weights[..., d:-d], weights[..., -d:]
    k, ell = policy[..., :d], policy[..., d:]
    around = a + b @ k
    whole = around + c + b @ ell
    identity = torch.eye(d, dtype=weights.dtype, device=weights.device)
    y = _lyapunov(around, identity + costs.effort * k.mT @ k, costs.discount)
    both = k + ell
    x = _lyapunov(whole, (1 + costs.together) * identity + costs.effort * both.mT @ both, costs.discount)
    noise = costs.sigma**2 * (_trace(x) / agents + _trace(y) * (1 - 1 / agents))
    begun = (mean * (x @ mean[..., None])[..., 0]).sum(-1) + (y * spread).sum((-2, -1))
    lasting = _growth(around, costs.discount) & _growth(whole, costs.discount)
    return torch.where(lasting, -begun - costs.discount / (1 - costs.discount) * noise, -torch.inf)


def _lyapunov(motion: Tensor, cost: Tensor, discount: float) -> Tensor:
    """X = cost + discount motion^T X motion, [..., d, d]."""
    d = motion.shape[-1]
    batch = broadcast_shapes(motion.shape[:-2], cost.shape[:-2])
    if d == 1:
        return cost / (1 - discount * motion.square())
    pair = torch.einsum("...ki,...lj->...ijkl", motion, motion).reshape(*motion.shape[:-2], d * d, d * d)
    matrix = (torch.eye(d * d, dtype=motion.dtype, device=motion.device) - discount * pair).expand(*batch, d * d, d * d)
    right = cost.expand(*batch, d, d).reshape(*batch, d * d, 1)
    found: Tensor = torch.linalg.solve(matrix, right)
    return found.reshape(*batch, d, d)


def _growth(motion: Tensor, discount: float) -> Tensor:
    """Whether discount rho(motion)^2 < 1."""
    one = motion.shape[-1] == 1
    radius: Tensor = motion[..., 0, 0].abs() if one else torch.linalg.eigvals(motion.detach()).abs().amax(-1)
    return discount * radius.square() < 1


def _trace(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1).sum(-1)
