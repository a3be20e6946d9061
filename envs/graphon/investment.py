"""Investment-Graphon: a firm invests in its quality, whose profit shrinks with the quality of its competitors.

States are the quality s = 0..n-1; action 1 invests.

    P(s + 1 | s, 1) = (n - 1 - s) / n,  else the quality stays as it is
    r = payoff s / (1 + sum_x x z(x)) - cost [a = 1]                                 mu_0: quality 0

Cui and Koeppl, "Learning graphon mean field games and approximate Nash equilibria", ICLR 2022, section 5; constants of
their public code (n = 10). z plays no part in P.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from gamesim.envs.graphon import fused
from gamesim.games import GraphonGame
from gamesim.kernels.rows import Rows
from gamesim.parameters import Count, NonNegative
from gamesim.simplex import lift


@final
@dataclass(frozen=True, kw_only=True)
class Investment(GraphonGame):
    """Firms that compete by quality on a graphon."""

    qualities: Count = 10
    """Levels of quality."""
    payoff: NonNegative = 0.3
    """Profit of one level of quality without competition."""
    cost: NonNegative = 2.0
    """Cost of investing for a step."""

    action_names: ClassVar[tuple[str, ...]] = ("keep", "invest")

    @cached_property
    def levels(self) -> Tensor:
        """0, 1, ..., n - 1."""
        return torch.arange(self.qualities, **self.like)

    @property
    def initial(self) -> Tensor:
        return (self.levels == 0).to(self.levels)

    @cached_property
    def profit(self) -> Tensor:
        """Profit without competition, [..., s]."""
        return lift(self.payoff, 2) * self.levels

    @cached_property
    def spending(self) -> Tensor:
        """cost [a = 1], [..., a]."""
        return lift(self.cost, 3) * torch.tensor([0.0, 1.0], **self.like)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return (self.profit / (1 + z @ self.levels)[..., None])[..., None] - self.spending

    @cached_property
    def growth(self) -> Tensor:
        """P[s, a, t]."""
        stay = torch.eye(self.qualities, **self.like)
        better = torch.eye(self.qualities, **self.like).roll(1, -1)  # its last row has no weight
        chance = (self.qualities - 1 - self.levels)[:, None] / self.qualities
        return torch.stack([stay, torch.lerp(stay, better, chance)], 1)

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.growth

    def rows(self) -> Rows:
        return Rows(reward=fused.investment_reward, parameters=(self.profit, self.spending), transition=self.growth)
