"""Cyber-Graphon: defend a computer against malware at a cost, or leave it open; the neighbours spread the infection.

States 0 DI, 1 DS, 2 UI, 3 US: defended or unprotected, infected or susceptible; actions 0 keep, 1 change the defence.
With D and U as 0 and 1, l for the level of defence of a state and g_m = min(1, z(infected at level m)):

    the level changes with chance  update [a = 1],  and independently, by the level before the change,
    P(susceptible | infected, l)    = recovery_l
    P(susceptible | susceptible, l) = (1 - attack attack_l) prod_m (1 - contact_{m l} g_m)
    r = -defence_cost [D] - infection_cost [I]                                       mu_0 = uniform

The attack from outside and the contacts with infected neighbours are independent chances of infection. Fabian, Cui and
Koeppl, "Learning sparse graphon mean field games", AISTATS 2023, after Kolokoltsov and Bensoussan, "Mean-field-game
model for botnet defense in cyber-security", 2016; constants from the public code of the former.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from gamesim.envs.graphon import fused
from gamesim.games import GraphonGame
from gamesim.kernels.rows import Rows
from gamesim.parameters import NonNegative, Probability
from gamesim.simplex import Number, lift


class Malware(NamedTuple):
    """How malware spreads among computers whose states are (sector, level of defence, infected or susceptible).

    With s running over these in order, the last fastest: P(susceptible next | s, z) is
    clean[s] (1 - defended[s] g_D) (1 - unprotected[s] g_U), where g counts the infected of all sectors.
    """

    clean: Tensor
    """Without contacts, [..., 1, s]."""
    defended: Tensor
    """Chance that an infected defended neighbour infects, [..., 1, s]; 0 in the infected states."""
    unprotected: Tensor
    """The same of an infected unprotected one."""
    update: Number
    """Chance that a change of defence succeeds."""

    def susceptible(self, z: Tensor) -> Tensor:
        """P(susceptible next | s, z), [..., k, s]."""
        g: Tensor = z.unflatten(-1, (-1, 2, 2))[..., 0].sum(-2).clamp(max=1)
        return self.clean * (1 - self.defended * g[..., :1]) * (1 - self.unprotected * g[..., 1:])

    def expect(self, value: Tensor, z: Tensor) -> Tensor:
        """sum_t P(t | s, a, z) value(t): value[..., k, t] -> [..., k, s, a]."""
        kept: Tensor = value.unflatten(-1, (-1, 2, 2))
        changed = kept + lift(self.update, 4) * (kept.flip(-2) - kept)
        level = torch.stack([kept.expand_as(changed), changed], -1)  # by action, while the health is still to come
        chance: Tensor = self.susceptible(z).unflatten(-1, (-1, 2, 2))[..., None]
        infected, susceptible = level[..., :1, :], level[..., 1:, :]
        return (infected + chance * (susceptible - infected)).flatten(-4, -2)

    def push(self, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        """Where a population goes: mass[..., k, s], policy[..., k, s, a] -> [..., k, t]."""
        susceptible = mass * self.susceptible(z)
        landed: Tensor = torch.stack([mass - susceptible, susceptible], -1).unflatten(-2, (-1, 2, 2))
        change: Tensor = (lift(self.update, 2) * policy[..., 1]).unflatten(-1, (-1, 2, 2))[..., None]
        moving = change * landed
        return (landed - moving + moving.flip(-3)).sum(-2).flatten(-3)

    def rows(self, rewards: Tensor) -> Rows:
        parameters = (rewards, self.clean, self.defended, self.unprotected, self.update)
        return Rows(
            reward=fused.malware_reward, expect=fused.malware_expect, push=fused.malware_push, parameters=parameters
        )


def columns(numbers: list[Number], like: dict[str, Any]) -> Tensor:
    """Parameters, each a number or a batch [...] of them, side by side: [..., 1, s]."""
    return torch.stack(torch.broadcast_tensors(*(torch.as_tensor(x, **like) for x in numbers)), -1).unsqueeze(-2)


@final
@dataclass(frozen=True, kw_only=True)
class Cyber(GraphonGame):
    """Defence of computers against malware."""

    update: Probability = 0.3
    """Chance that a change of defence succeeds in a step."""
    recovery_defended: Probability = 0.3
    """Chance that a defended computer recovers in a step."""
    recovery_unprotected: Probability = 0.2
    """Chance that an unprotected computer recovers in a step."""
    attack: Probability = 0.1
    """Strength of the attack from outside."""
    attack_defended: Probability = 0.05
    """Chance that an attack of full strength infects a defended computer."""
    attack_unprotected: Probability = 0.1
    """Chance that an attack of full strength infects an unprotected computer."""
    contact_dd: Probability = 0.1
    """Chance that infected defended neighbours infect a defended computer, when all are such."""
    contact_ud: Probability = 0.2
    """Chance that infected unprotected neighbours infect a defended computer."""
    contact_du: Probability = 0.7
    """Chance that infected defended neighbours infect an unprotected computer."""
    contact_uu: Probability = 0.8
    """Chance that infected unprotected neighbours infect an unprotected computer."""
    defence_cost: NonNegative = 0.7
    """Cost of being defended for a step."""
    infection_cost: NonNegative = 2.0
    """Cost of being infected for a step."""

    state_names: ClassVar[tuple[str, ...]] = ("defended, infected", "defended", "unprotected, infected", "unprotected")
    action_names: ClassVar[tuple[str, ...]] = ("keep", "change defence")

    @property
    def initial(self) -> Tensor:
        return torch.full((4,), 0.25, **self.like)

    @cached_property
    def malware(self) -> Malware:
        outside_d, outside_u = (1 - self.attack * chance for chance in (self.attack_defended, self.attack_unprotected))
        return Malware(
            columns([self.recovery_defended, outside_d, self.recovery_unprotected, outside_u], self.like),
            columns([0.0, self.contact_dd, 0.0, self.contact_du], self.like),
            columns([0.0, self.contact_ud, 0.0, self.contact_uu], self.like),
            self.update,
        )

    @cached_property
    def rewards(self) -> Tensor:
        """r[..., 1, s, 1]."""
        d, i = self.defence_cost, self.infection_cost
        return -columns([d + i, d, i, 0.0], self.like)[..., None]

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.rewards

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return self.malware.expect(value, z)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return self.malware.push(mass, policy, z)

    def rows(self) -> Rows:
        return self.malware.rows(self.rewards)
