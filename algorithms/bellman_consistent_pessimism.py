"""Bellman-consistent pessimism, exactly: among finitely many policies, the one whose worst value is best.

    pi_hat = argmax_{pi in Pi} min { f(S0, pi) : f in F, E(f, pi; D) <= eps }

Pi are the policies by which all agents act alone, pi(u | z), with probabilities that are multiples of 1 / (levels - 1).
The minimum has a closed form (`gamesim.offline.exact.version_space`), where without a radius of one's own

    eps = sigma^2 (d + 2 sqrt(d l) + 2 l) / n,    sigma = discount Vmax / 2,    l = log(|Pi| / delta)

so that with probability 1 - delta every Q^pi is in its version space, and `lower` is at most J(pi_hat). All is done in
the first step; others change nothing.

Xie, Cheng, Jiang, Mineiro and Agarwal, "Bellman-consistent pessimism for offline reinforcement learning", NeurIPS 2021,
arXiv 2106.06926; Zhang et al., NeurIPS 2022, arXiv 2209.09845, for permutation-invariant agents.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.offline.exact.counted_task import CountedTask, Functions
from gamesim.offline.exact.pairs import local_policies
from gamesim.offline.exact.version_space import radius
from gamesim.parameters import Bounds, NonNegative, check
from gamesim.randomness import Stream

ROOM = 2**26
"""Numbers of all policies' tables together, at most."""
Chance = Annotated[float, Bounds("a number between 0 and 1, ends excluded", 0, 1, True, True)]
Levels = Annotated[int, Bounds("a whole number from 2 to 101", 2, 101)]


@dataclass(frozen=True)
class Chosen:
    """A policy, and the least value that the data allow it."""

    policy: tuple[Tensor, ...]
    lower: Tensor

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"lower": self.lower}


@dataclass(frozen=True)
class BellmanConsistentPessimism:
    """The policy whose least value over its version space is the greatest."""

    radius: NonNegative | None = None
    """eps of the version spaces; none: with which all of them hold the truth with probability 1 - delta."""
    delta: Chance = 0.05
    """Chance that a version space lacks its Q^pi, where no radius is given."""
    levels: Levels = 3
    """How many probabilities a policy may choose an action with: 2 are pure policies."""
    functions: Functions = "tables"
    """F: all tables, or functions quadratic in the shares of agents."""

    requires: ClassVar[type] = CountedTask

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: CountedTask) -> Chosen:
        (policy,) = game.start()
        return Chosen((policy,), torch.zeros_like(policy[..., 0, 0]))  # rewards are never negative

    def step(self, t: int, game: CountedTask, state: Chosen, generator: Stream) -> Chosen:
        if t > 0:
            return state
        policies = self.policies(game)
        functions = game.functions(self.functions)
        found = functions.least(policies, game.initial, self._radius(game, functions.dimension, len(policies)))
        batch = state.lower.shape
        lower, which = found.value.expand(*batch, len(policies)).max(-1)
        return Chosen((policies[which],), lower)

    def policies(self, game: CountedTask) -> Tensor:
        """Pi as laws of plays, [policy, s, a]."""
        crowd = game.crowd
        rows = math.comb(self.levels - 1 + crowd.local_actions - 1, crowd.local_actions - 1)
        many = rows**crowd.local_states
        if many * crowd.possible.numel() > ROOM:
            raise refuse("levels", self.levels, f"fewer levels than make {many:,} policies for {crowd.agents} agents")
        return crowd.acting(local_policies(crowd.local_states, crowd.local_actions, self.levels)[:, None])

    def _radius(self, game: CountedTask, dimension: float | Tensor, policies: int) -> float | Tensor:
        if self.radius is not None:
            batched = isinstance(self.radius, Tensor) and self.radius.dim() > 0
            return torch.as_tensor(self.radius)[..., 0] if batched else self.radius  # of [..., policy]
        discount = game.discount
        spread = discount / (1 - discount)
        return radius(dimension, int(game.data.samples), spread, self.delta, policies)
