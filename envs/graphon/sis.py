"""SIS-Graphon: who is susceptible may go out and be infected by the neighbours, or stay in at a cost.

States 0 susceptible, 1 infected; actions 0 go out, 1 stay in.

    P(infected | susceptible, a, z) = infection z(infected) [a = 0]      P(susceptible | infected) = recovery
    r = reward_scale (-2 [infected] - 0.5 [a = 1])                       mu_0 = (1/2, 1/2)

Cui and Koeppl, "Learning graphon mean field games and approximate Nash equilibria", ICLR 2022, section 5; constants
from their public code. Zhang, Tan, Wang and Yang (arXiv 2310.17531) play it with reward_scale 5.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from gamesim.envs.contagion import Contagion
from gamesim.games import GraphonGame
from gamesim.kernels.rows import Rows
from gamesim.parameters import Positive, Probability
from gamesim.simplex import lift


@final
@dataclass(frozen=True, kw_only=True)
class SIS(GraphonGame):
    """Susceptible and infected agents on a graphon."""

    infection: Probability = 0.8
    """Chance that a fully infected neighbourhood infects who goes out."""
    recovery: Probability = 0.2
    """Chance to recover in a step."""
    reward_scale: Positive = 1.0
    """Multiplies every reward."""

    z_is_probability: ClassVar[bool] = True
    state_names: ClassVar[tuple[str, ...]] = ("susceptible", "infected")
    action_names: ClassVar[tuple[str, ...]] = ("go out", "stay in")

    @property
    def initial(self) -> Tensor:
        return torch.tensor([0.5, 0.5], **self.like)

    @cached_property
    def contagion(self) -> Contagion:
        rewards = lift(self.reward_scale, 2) * torch.tensor([[0.0, -0.5], [-2.0, -2.5]], **self.like)
        return Contagion(self.infection, self.recovery, rewards)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.contagion.rewards.unsqueeze(-3)

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return self.contagion.expect(value, z)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return self.contagion.push(mass, policy, z)

    def rows(self) -> Rows:
        return self.contagion.rows()
