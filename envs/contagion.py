"""Susceptible and infected: the dynamics that the SIS game on graphons and the susceptible-infected game share.

States 0 susceptible, 1 infected; actions 0 go out, 1 stay in; rewards that do not depend on the others.

    P(infected | susceptible, a, z) = infection z(infected) [a = 0]      P(susceptible | infected) = recovery

Written twice: in torch for any batch, and as row functions for the compiled loops (gamesim.kernels.rows).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.kernels import rows
from gamesim.kernels.rows import Rows
from gamesim.simplex import Number, lift, total


@dataclass(frozen=True)
class Contagion:
    """Who goes out may be infected by those met, and recovers at home or not."""

    infection: Number
    """Chance that a fully infected neighbourhood infects who goes out."""
    recovery: Number
    """Chance to recover in a step."""
    rewards: Tensor
    """[..., s, a]."""

    @cached_property
    def exposed(self) -> Tensor:
        """infection [a = 0], [..., k, a]."""
        return lift(self.infection, 2) * torch.tensor([1.0, 0.0], dtype=self.rewards.dtype, device=self.rewards.device)

    def infects(self, z: Tensor) -> Tensor:
        """P(infected | susceptible, a, z): [..., k, a]."""
        return self.exposed * z[..., 1:]

    def expect(self, value: Tensor, z: Tensor) -> Tensor:
        healthy, sick = value[..., :1], value[..., 1:]
        susceptible = healthy + self.infects(z) * (sick - healthy)
        infected = sick + lift(self.recovery, 2) * (healthy - sick)
        return torch.stack([susceptible, infected.expand_as(susceptible)], -2)

    def push(self, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        healthy, sick = mass.unbind(-1)
        infected = healthy * total(policy[..., 0, :] * self.infects(z))
        recovered = lift(self.recovery, 1) * sick
        return torch.stack([healthy - infected + recovered, sick + infected - recovered], -1)

    def rows(self) -> Rows:
        parameters = (self.infection, self.recovery, self.rewards)
        return Rows(reward=reward_row, expect=expect_row, push=push_row, parameters=parameters)


@rows.reward
def reward_row(h: Any, z: Any, out: Any, parameters: Any) -> None:
    """infection, recovery, rewards[s, a]."""
    for s in range(2):
        for a in range(2):
            for k in range(z.shape[1]):
                out[s, a, k] = parameters[2 + 2 * s + a]


@rows.expect
def expect_row(h: Any, value: Any, z: Any, out: Any, parameters: Any) -> None:
    infection, recovery = parameters[0], parameters[1]
    for k in range(z.shape[1]):
        healthy, sick = value[0, k], value[1, k]
        out[0, 0, k] = healthy + infection * z[1, k] * (sick - healthy)
        out[0, 1, k] = healthy
        out[1, 0, k] = out[1, 1, k] = sick + recovery * (healthy - sick)


@rows.push
def push_row(h: Any, mass: Any, policy: Any, z: Any, out: Any, parameters: Any) -> None:
    infection, recovery = parameters[0], parameters[1]
    for k in range(z.shape[1]):
        infected = mass[0, k] * policy[0, 0, k] * infection * z[1, k]
        recovered = recovery * mass[1, k]
        out[0, k] = mass[0, k] - infected + recovered
        out[1, k] = mass[1, k] + infected - recovered
