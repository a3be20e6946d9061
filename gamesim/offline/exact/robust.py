"""The worst law within total variation of a given one, row by row: closed forms for tabular models.

With TV(p, q) = 1/2 sum |p - q| <= tau the expectation of V falls most when mass tau is taken from where V is largest
and given to where it is smallest. A set that is a product of such rows is solved by

    V(s) = sum_a pi(a | s) ( r(s, a) + discount min_{TV(p, P(. | s, a)) <= tau(s, a)} p . V ),

a contraction (Iyengar, "Robust dynamic programming", Mathematics of Operations Research 30, 2005; Nilim and El Ghaoui,
Operations Research 53, 2005). One budget for all rows together, sum nu tau^2 <= zeta, is a larger set than any product
in it: there the simulation lemma bounds the minimum from below,

    V_P - V_hat  = discount sum_{s, a} d_hat(s, a) (P - P_hat)(. | s, a) . V_P
                >= -discount span sqrt(zeta sum d_hat^2 / nu)

with d_hat the visits under P_hat and span the largest difference of values.
"""

import torch
from torch import Tensor

from gamesim.offline.exact.tables import state_values, visits

ROUNDS = 10_000


def least_expectation(law: Tensor, values: Tensor, tau: Tensor | float) -> tuple[Tensor, Tensor]:
    """min p . V over TV(p, law) <= tau, [...], and the p that has it, for law[..., t], values[..., t], tau[...]."""
    law, values = torch.broadcast_tensors(law, values)
    order = values.argsort(-1, descending=True)
    mass = law.gather(-1, order)
    tau = torch.as_tensor(tau, dtype=law.dtype, device=law.device).expand(law.shape[:-1]).clamp(0, 1)
    taken = (tau[..., None] - (mass.cumsum(-1) - mass)).clamp(min=0).minimum(mass)  # from the largest value on
    lowest = torch.nn.functional.one_hot(order[..., -1], law.shape[-1]).to(law.dtype)
    worst = law.scatter(-1, order, mass - taken) + taken.sum(-1, keepdim=True) * lowest
    return (worst * values).sum(-1), worst


def robust_values(
    policy: Tensor, reward: Tensor, law: Tensor, discount: float, tau: Tensor | float, tolerance: float = 1e-12
) -> tuple[Tensor, Tensor]:
    """The least V[..., s] of policy[..., s, a] over rows within tau[..., s, a], and the law that has it."""
    worst = law
    values = state_values(policy, reward, law, discount)
    for _ in range(ROUNDS):  # policy iteration of the adversary: each law is worst for the values of the one before
        _, worst = least_expectation(law, values[..., None, None, :], tau)
        lower = state_values(policy, reward, worst, discount)
        change = float((lower - values).abs().max())
        values = lower
        if change <= tolerance * (1 + float(values.abs().max())):
            break
    return values, worst


def budget_bound(
    policy: Tensor,
    reward: Tensor,
    law: Tensor,
    discount: float,
    initial: Tensor,
    share: Tensor,
    zeta: float,
    span: float,
) -> Tensor:
    """A lower bound of J over all laws with sum nu TV^2 <= zeta, nu = share[..., s, a]; -inf beyond the data."""
    met = visits(policy, initial, law, discount)
    ratio = torch.where(met > 0, met.square() / share, 0.0).sum((-2, -1))
    values = (initial * state_values(policy, reward, law, discount)).sum(-1)
    return values - discount * span * (zeta * ratio).sqrt()
