"""How strict a pure policy is, and the ball around it on which second-order stationarity is proved.

pi* is pure, a* its actions, gap_i(s, a) = Q_i(s, a*) - Q_i(s, a) for a != a*. Let m_i(s) = 1 - pi_i(a* | s), the total
variation distance in a row, and let eps bound sum_i m_i(s) in every state. Then everyone plays a* with probability at
least 1 - eps, zeta is the least stopping probability, D_i(s, a) = [R_i + P V_i*](s, a_i*, a_-i) - [R_i + P V_i*](s, a),
B_i = max |R_i + P V_i* - V_i*|, and

    d(s)        >= d_eps(s),  d_eps = rho + (1 - eps) (P^pi*)^T d_eps                        as P^pi >= (1 - eps) P^pi*
    |V_i - V_i*| <= eps B_i / zeta                                                           performance difference
    Q_i(s, a*) - Q_i(s, a) >= (1 - eps) gap_i(s, a) + eps min_{a_-i} D_i(s, a) - 2 eps (1 - zeta) B_i / zeta

The last is positive for eps below some eps_0. With c(eps) the least product of the first and the last,

    <v(pi), pi - pi*> <= -c(eps) sum_{i,s} m_i(s) <= -mu ||pi - pi*||^2,     mu = c(eps) / (2 eps)

since ||pi_i(s) - pi_i*(s)||^2 <= 2 m_i(s)^2 <= 2 eps m_i(s). So mu grows without bound as the ball shrinks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.certificates.standing import Standing
from gamesim.games import Policy, TabularGame


@dataclass(frozen=True, eq=False)
class Moduli:
    """Of pure policies [...]."""

    game: TabularGame
    standing: Standing
    gaps: Policy
    """Q_i(s, a*) - Q_i(s, a)[..., s, a], infinite at a*."""
    falls: Policy
    """By how much a gap may fall for each eps, [..., s, a]."""

    @property
    def margins(self) -> Tensor:
        """The least gap of each player and state, [..., player, s]; infinite where there is one action."""
        return torch.stack([gap.amin(-1) for gap in self.gaps], -2)

    @property
    def largest(self) -> Tensor:
        """eps_0, at most 1: [...]."""
        ratios = [(gap / fall.clamp(min=1e-300)).nan_to_num(1.0, posinf=1.0).flatten(-2).amin(-1)
                  for gap, fall in zip(self.gaps, self.falls, strict=True)]  # fmt: skip
        return torch.stack(ratios).amin(0).clamp(0, 1)

    def sharpness(self, eps: Tensor) -> Tensor:
        """c(eps)[...]: <v(pi), pi - pi*> <= -c(eps) sum_{i,s} m_i(s) where sum_i m_i(s) <= eps everywhere."""
        chain = (1 - eps[..., None, None]) * self.game.chain(self.standing.policy)
        identity = torch.eye(chain.shape[-1], dtype=chain.dtype, device=chain.device)
        start = self.game.initial.expand(*chain.shape[:-1])
        visits = torch.linalg.solve((identity - chain).mT, start)
        kept = [gap - eps[..., None, None] * fall for gap, fall in zip(self.gaps, self.falls, strict=True)]
        products = [visits * left.amin(-1) for left in kept]
        return torch.stack(products).amin(0).amin(-1)

    def modulus(self, eps: Tensor) -> Tensor:
        """mu[...] = c(eps) / (2 eps)."""
        return self.sharpness(eps) / (2 * eps)


def moduli(game: TabularGame, standing: Standing) -> Moduli:
    """The gaps of pure policies, and how fast they can close."""
    policy, n = standing.policy, len(standing.policy)
    stage = game.stage(standing.values)
    worth = (stage.flatten(-n) - standing.values[..., None]).abs().amax((-2, -1))  # B[..., player]
    zeta = game.stopping.flatten(-1 - n).amin(-1)
    shift = 2 * (1 - zeta[..., None]) / zeta[..., None] * worth
    gaps, falls = list[Tensor](), list[Tensor]()
    for i, x in enumerate(policy):
        own = stage.select(-2 - n, i).movedim(i - n, -1)
        own = own.flatten(-n, -2) if n > 1 else own.unsqueeze(-2)  # [..., s, others, a]
        other = _others(policy, i)
        D = (own * x[..., None, :]).sum(-1, keepdim=True) - own
        gap = (D * other[..., None]).sum(-2)
        at = x > 0
        gaps.append(torch.where(at, torch.inf, gap))
        falls.append(torch.where(at, 0.0, gap - D.amin(-2) + shift[..., i, None, None]))
    return Moduli(game, standing, tuple(gaps), tuple(falls))


def _others(policy: Policy, i: int) -> Tensor:
    """The law of the others' joint actions, [..., s, others]."""
    rest = [x for j, x in enumerate(policy) if j != i]
    if not rest:
        return torch.ones_like(policy[i][..., :1])
    found = rest[0]
    for x in rest[1:]:
        found = (found[..., :, None] * x[..., None, :]).flatten(-2)
    return found
