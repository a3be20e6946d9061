"""Values, visits and the optimum of a Markov decision process by its tables.

    V = r^pi + discount P^pi V,     Q(s, a) = r(s, a) + discount sum_t P(t | s, a) V(t)
    d = rho + discount (P^pi)^T d,  d(s, a) = d(s) pi(a | s),     <rho, V> = sum d(s, a) r(s, a)

d is not normalised: it adds up to 1 / (1 - discount). Policies, rewards, laws and starts may have leading dimensions,
which broadcast; an action that a state does not have is False in `possible`, and no policy takes it.
"""

import torch
from torch import Tensor

from gamesim.shapes import broadcast_shapes

SWEEPS = 1000
"""Rounds of policy iteration at most; it takes a few."""


def state_values(policy: Tensor, reward: Tensor, law: Tensor, discount: float) -> Tensor:
    """V[..., s] for policy[..., s, a], reward[..., s, a] and law[..., s, a, t], rows of at most 1."""
    return _solved(_chain(policy, law), (policy * reward).sum(-1), discount)


def action_values(values: Tensor, reward: Tensor, law: Tensor, discount: float) -> Tensor:
    """Q[..., s, a] where V[..., t] follows."""
    return reward + discount * (law * values[..., None, None, :]).sum(-1)


def visits(policy: Tensor, initial: Tensor, law: Tensor, discount: float) -> Tensor:
    """d[..., s, a], how often each pair is met, discounted, from the law initial[..., s] on."""
    chain = _chain(policy, law)
    return _solved(chain.mT, initial.expand(*chain.shape[:-1]), discount)[..., None] * policy


def optimum(possible: Tensor, reward: Tensor, law: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    """A best policy [..., s, a] and its values [..., s], by policy iteration (Howard, 1960)."""
    policy = _greedy(reward.masked_fill(~possible, -torch.inf))
    for _ in range(SWEEPS):
        values = state_values(policy, reward, law, discount)
        q = action_values(values, reward, law, discount).masked_fill(~possible, -torch.inf)
        close = 1e-12 * (1 + values.abs().amax(-1))[..., None]
        worse = q.amax(-1) > values + close  # elsewhere the action of before is as good
        if not bool(worse.any()):
            break
        policy = torch.where(worse[..., None], _greedy(q), policy)
    return policy, values


def _chain(policy: Tensor, law: Tensor) -> Tensor:
    return torch.einsum("...sa,...sat->...st", policy, law)


def _solved(chain: Tensor, right: Tensor, discount: float) -> Tensor:
    identity = torch.eye(chain.shape[-1], dtype=chain.dtype, device=chain.device)
    batch = broadcast_shapes(chain.shape[:-2], right.shape[:-1])
    matrix = (identity - discount * chain).expand(*batch, *chain.shape[-2:])
    found: Tensor = torch.linalg.solve(matrix, right.expand(*batch, right.shape[-1])[..., None])[..., 0]
    return found


def _greedy(values: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(values.argmax(-1), values.shape[-1]).to(values.dtype)
