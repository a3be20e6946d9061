"""Heterogeneous Cyber-Graphon: private and corporate computers, of unequal exposure, on one graphon.

States 0..3 are DI, DS, UI, US of a private computer, 4..7 of a corporate one; nobody changes sector. Each sector moves
as in `gamesim.envs.graphon.cyber`, with its own recovery, contacts and costs, and meets the infected of both:

    g_m = min(1, z(infected at level m, private) + z(infected at level m, corporate))
    r = -defence_cost_sector [D] - infection_cost_sector [I]                         mu_0 = uniform

Fabian, Cui and Koeppl, "Learning sparse graphon mean field games", AISTATS 2023; constants from their public code:
private computers catch more (contacts .2, .3, .9, 1 against .1, .2, .7, .8) and pay .7 for defence, corporate ones .6.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from gamesim.envs.graphon.cyber import Cyber, Malware, columns
from gamesim.games import GraphonGame
from gamesim.kernels.rows import Rows
from gamesim.parameters import NonNegative, Probability


@final
@dataclass(frozen=True, kw_only=True)
class HeterogeneousCyber(GraphonGame):
    """Defence of private and corporate computers against malware."""

    update: Probability = 0.3
    """Chance that a change of defence succeeds in a step."""
    attack: Probability = 0.1
    """Strength of the attack from outside."""
    attack_defended: Probability = 0.05
    """Chance that an attack of full strength infects a defended computer."""
    attack_unprotected: Probability = 0.1
    """Chance that an attack of full strength infects an unprotected computer."""
    private_recovery_defended: Probability = 0.4
    """Chance that a defended private computer recovers in a step."""
    private_recovery_unprotected: Probability = 0.3
    """Chance that an unprotected private computer recovers in a step."""
    private_contact_dd: Probability = 0.2
    """Chance that infected defended neighbours infect a defended private computer, when all are such."""
    private_contact_ud: Probability = 0.3
    """Chance that infected unprotected neighbours infect a defended private computer."""
    private_contact_du: Probability = 0.9
    """Chance that infected defended neighbours infect an unprotected private computer."""
    private_contact_uu: Probability = 1.0
    """Chance that infected unprotected neighbours infect an unprotected private computer."""
    private_defence_cost: NonNegative = 0.7
    """Cost for a private computer of being defended for a step."""
    private_infection_cost: NonNegative = 2.0
    """Cost for a private computer of being infected for a step."""
    corporate_recovery_defended: Probability = 0.4
    """Chance that a defended corporate computer recovers in a step."""
    corporate_recovery_unprotected: Probability = 0.3
    """Chance that an unprotected corporate computer recovers in a step."""
    corporate_contact_dd: Probability = 0.1
    """Chance that infected defended neighbours infect a defended corporate computer, when all are such."""
    corporate_contact_ud: Probability = 0.2
    """Chance that infected unprotected neighbours infect a defended corporate computer."""
    corporate_contact_du: Probability = 0.7
    """Chance that infected defended neighbours infect an unprotected corporate computer."""
    corporate_contact_uu: Probability = 0.8
    """Chance that infected unprotected neighbours infect an unprotected corporate computer."""
    corporate_defence_cost: NonNegative = 0.6
    """Cost for a corporate computer of being defended for a step."""
    corporate_infection_cost: NonNegative = 2.0
    """Cost for a corporate computer of being infected for a step."""

    state_names: ClassVar[tuple[str, ...]] = tuple(
        f"{sector}, {name}" for sector in ("private", "corporate") for name in Cyber.state_names
    )
    action_names: ClassVar[tuple[str, ...]] = ("keep", "change defence")

    @property
    def initial(self) -> Tensor:
        return torch.full((8,), 0.125, **self.like)

    @cached_property
    def malware(self) -> Malware:
        outside_d, outside_u = (1 - self.attack * chance for chance in (self.attack_defended, self.attack_unprotected))
        private = [self.private_recovery_defended, outside_d, self.private_recovery_unprotected, outside_u]
        corporate = [self.corporate_recovery_defended, outside_d, self.corporate_recovery_unprotected, outside_u]
        from_defended = [
            *(0.0, self.private_contact_dd, 0.0, self.private_contact_du),
            *(0.0, self.corporate_contact_dd, 0.0, self.corporate_contact_du),
        ]
        from_unprotected = [
            *(0.0, self.private_contact_ud, 0.0, self.private_contact_uu),
            *(0.0, self.corporate_contact_ud, 0.0, self.corporate_contact_uu),
        ]
        clean, defended, unprotected = (
            columns(x, self.like) for x in (private + corporate, from_defended, from_unprotected)
        )
        return Malware(clean, defended, unprotected, self.update)

    @cached_property
    def rewards(self) -> Tensor:
        """r[..., 1, s, 1]."""
        private = (self.private_defence_cost, self.private_infection_cost)
        corporate = (self.corporate_defence_cost, self.corporate_infection_cost)
        return -columns([x for d, i in (private, corporate) for x in (d + i, d, i, 0.0)], self.like)[..., None]

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.rewards

    def expect(self, h: int, value: Tensor, z: Tensor) -> Tensor:
        return self.malware.expect(value, z)

    def push(self, h: int, mass: Tensor, policy: Tensor, z: Tensor) -> Tensor:
        return self.malware.push(mass, policy, z)

    def rows(self) -> Rows:
        return self.malware.rows(self.rewards)
