"""Susceptible-infected: go out and risk infection by the whole population, or keep one's distance at a cost.

States 0 susceptible, 1 infected; actions 0 go out, 1 keep away.

    P(infected | susceptible, a, z) = infection z(1) [a = 0]      P(susceptible | infected) = recovery
    r = -[s = 1] - 0.5 [a = 1], charged at every step             mu_0 = (1 - infected, infected)

Cui and Koeppl, "Approximately solving mean field games via entropy-regularized deep reinforcement learning", AISTATS
2021. This is MFGLib's variant (`susceptible_infected`; its T = 50 is horizon 51), exactly: infection 0.9^2, recovery
0.3, infected 0.6. `graphon/sis` is its successor with other constants.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from gamesim.envs.contagion import Contagion
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi, Graphon
from gamesim.kernels.rows import Rows
from gamesim.parameters import Count, Probability
from gamesim.simplex import lift


@final
@dataclass(frozen=True, kw_only=True)
class SusceptibleInfected(GraphonGame):
    """Susceptible and infected agents who all meet."""

    horizon: Count = 51
    """Number of decision steps."""
    graphon: Graphon | tuple[Graphon, ...] = ErdosRenyi(1.0)
    """How positions feel one another; erdos-renyi(1) is the plain mean-field game."""
    positions: Count | None = 1
    """Grid points: 1 where all positions are alike; give more with another graphon."""
    infection: Probability = 0.81
    """Chance that a fully infected population infects who goes out."""
    recovery: Probability = 0.3
    """Chance to recover in a step."""
    infected: Probability = 0.6
    """Share of the population that is infected at the start."""

    z_is_probability: ClassVar[bool] = True

    @property
    def initial(self) -> Tensor:
        sick = torch.as_tensor(lift(self.infected, 1), **self.like)
        return torch.stack([1 - sick, sick], -1)

    @cached_property
    def contagion(self) -> Contagion:
        return Contagion(self.infection, self.recovery, torch.tensor([[0.0, -0.5], [-1.0, -1.5]], **self.like))

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.contagion.rewards

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return self.contagion.expect(value, z)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return self.contagion.push(mass, policy, z)

    def rows(self) -> Rows:
        return self.contagion.rows()
