"""SIS-Graphon: who is susceptible may go out and be infected by the neighbours, or stay in at a cost.

States 0 susceptible, 1 infected; actions 0 go out, 1 stay in.

    P(infected | susceptible, a, z) = infection z(infected) [a = 0]      P(susceptible | infected) = recovery
    r = reward_scale (-2 [infected] - 0.5 [a = 1])                       mu_0 = (1/2, 1/2)

Cui and Koeppl, "Learning graphon mean field games and approximate Nash equilibria", ICLR 2022, section 5; constants from
their public code. Zhang, Tan, Wang and Yang (arXiv 2310.17531) play it with reward_scale 5.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from gamesim.envs.graphon import fused
from gamesim.games import GraphonGame
from gamesim.kernels.rows import Rows
from gamesim.parameters import Positive, Probability
from gamesim.simplex import lift, total


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

    def reward(self, h: int, z: Tensor) -> Tensor:
        return lift(self.reward_scale, 3) * torch.tensor([[0.0, -0.5], [-2.0, -2.5]], **self.like)

    def infects(self, z: Tensor) -> Tensor:
        """P(infected | susceptible, a, z): [..., k, a]."""
        return lift(self.infection, 2) * z[..., 1:] * torch.tensor([1.0, 0.0], **self.like)

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        healthy, sick = value[..., :1], value[..., 1:]
        susceptible = healthy + self.infects(z) * (sick - healthy)
        infected = sick + lift(self.recovery, 2) * (healthy - sick)
        return torch.stack([susceptible, infected.expand_as(susceptible)], -2)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        healthy, sick = mass.unbind(-1)
        infected = healthy * total(policy[..., 0, :] * self.infects(z))
        recovered = lift(self.recovery, 1) * sick
        return torch.stack([healthy - infected + recovered, sick + infected - recovered], -1)

    def rows(self) -> Rows:
        parameters = (self.infection, self.recovery, self.reward_scale)
        return Rows(reward=fused.sis_reward, expect=fused.sis_expect, push=fused.sis_push, parameters=parameters)
