"""Left-right: choose a side once, and pay for those who chose the same; the right costs twice as much.

States 0 start, 1 left, 2 right; actions 0, 1 lead to state 1, 2 from anywhere; everyone starts in 0.

    r_h(s, z) = -left z(1) [s = 1] - right z(2) [s = 2]         whatever the action

The choice is made at h = 0 and paid at h = 1, where the last action plays no part. At the equilibrium both sides cost
the same, left mu(1) = right mu(2): a share right / (left + right) goes left, 2/3 by default. The game is monotone.

Cui and Koeppl, "Approximately solving mean field games via entropy-regularized deep reinforcement learning", AISTATS
2021. This is MFGLib's variant (`left_right`, T = 1), exactly.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, Graphon
from gamesim.parameters import Count, NonNegative
from gamesim.simplex import lift


@final
@dataclass(frozen=True, kw_only=True)
class LeftRight(GraphonGame):
    """Two sides, each worse the more crowded it is."""

    horizon: Count = 2
    """Number of decision steps; the choice at step h is paid at h + 1."""
    graphon: Graphon | tuple[Graphon, ...] = ErdosRenyi(1.0)
    """How positions feel one another; erdos-renyi(1) is the plain mean-field game."""
    positions: Count | None = 1
    """Grid points: 1 where all positions are alike; give more with another graphon."""
    left: NonNegative = 1.0
    """Cost of the left side when everyone is there."""
    right: NonNegative = 2.0
    """Cost of the right side when everyone is there."""

    @property
    def initial(self) -> Tensor:
        return torch.tensor([1.0, 0.0, 0.0], **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        left, right = torch.broadcast_tensors(lift(self.left, 1) * z[..., 1], lift(self.right, 1) * z[..., 2])
        cost = torch.stack([torch.zeros_like(left), left, right], -1)
        return -torch.stack([cost, cost], -1)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return torch.eye(3, **self.like)[1:].expand(3, 2, 3)
