"""Cooperative navigation: n agents cover L landmarks and keep off one another. `variant` says which definition holds.

With agents at x_i and landmarks at y_l, the reward of mpe2 is

    r_i = -(1 - rho) sum_l min_j |x_j - y_l| - rho #{j != i: |x_i - x_j| < 0.3},       rho = local_ratio

Lowe et al., "Multi-agent actor-critic for mixed cooperative-competitive environments", NeurIPS 2017; the six
definitions that go by its name are in `gamesim.envs.sets.variants`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from gamesim.envs.sets.discs import Choice, Crowd, Discs, Precision, Radius, Share, overlaps
from gamesim.envs.sets.moves import Outside
from gamesim.envs.sets.variants import Definition, Variant, Weights, definition, variant_facts
from gamesim.errors import refuse
from gamesim.games.worlds import Particles
from gamesim.kernels.particles import Pay, Physics, Shown, observe
from gamesim.parameters import Count, Device
from gamesim.randomness import Stream

SIZE, LANDMARK = 0.15, 0.05
APART, DARTS = 0.675, 64
"""Distance between landmarks of pic, and how many places are tried at once for one."""


@final
@dataclass(frozen=True, kw_only=True)
class Spread(Discs):
    """Cover every landmark and do not collide; cooperative."""

    agents: Crowd = 3
    """How many act."""
    landmarks: Crowd | None = None
    """How many there are to cover; none for as many as agents."""
    variant: Variant = "mpe2"
    """Which of the definitions called simple spread; see `gamesim.envs.sets.variants`."""
    actions: Choice = "discrete"
    """Five moves, or a force in [-1, 1]^2."""
    steps: Count = 25
    """Steps of an episode."""
    local_ratio: Share | None = None
    """Weight of an agent's own collisions, in mpe2 and jaxmarl; none for 0.5."""
    radius: Radius | None = None
    """Half the side of the square that everything begins in; none for the variant's own."""
    outside: Outside = "clip"
    """What is done with a force beyond [-1, 1]."""
    device: Device = "cpu"
    """Where tensors live."""
    dtype: Precision = "float32"
    """Precision of all numbers."""

    kinds_of_entity = ("agent", "landmark")

    def agree(self) -> None:
        own = self.definition.local_ratio
        if self.local_ratio is not None and own is None:
            raise refuse("local_ratio", self.local_ratio, f"none: variant {self.variant} has no such weight")
        room = (2 * self.half / APART) ** 2
        if self.definition.placing == "apart" and self.landmark_count > 0.5 * room:
            wanted = f"a radius in which {self.landmark_count} landmarks stand {APART} apart"
            raise refuse("radius", self.half, f"{wanted}: {APART * math.sqrt(self.landmark_count / 2):.3g} or more")

    @property
    def definition(self) -> Definition:
        return definition(self.variant)

    @property
    def facts(self) -> dict[str, str]:
        """What is particular to the variant, by name of the fact."""
        return variant_facts(self.variant, self.agents)

    @property
    def acting(self) -> int:
        return self.agents

    @property
    def landmark_count(self) -> int:
        return self.agents if self.landmarks is None else self.landmarks

    @cached_property
    def types(self) -> Tensor:
        return torch.tensor([0] * self.agents + [1] * self.landmark_count, dtype=torch.uint8, device=self.device)

    @property
    def half(self) -> float:
        return self.definition.radius(self.agents) if self.radius is None else self.radius

    @cached_property
    def physics(self) -> Physics:
        radius = torch.tensor([SIZE] * self.agents + [LANDMARK] * self.landmark_count, **self.like)
        every = torch.ones(self.agents, **self.like)
        first = self.definition.integration == "position, then velocity"
        return Physics(
            radius,
            self.definition.strength * every,
            math.inf * every,
            colliding=self.agents,
            position_first=first,
            cut=self.definition.contact == "cut",
        )

    @cached_property
    def weights(self) -> Weights:
        own = self.definition.local_ratio if self.local_ratio is None else self.local_ratio
        return self.definition.weights(self.agents, own or 0.0)

    @cached_property
    def pay(self) -> Pay:
        w = self.weights
        return Pay("spread", (w.covered, w.own, w.all, w.constant), self.definition.coverage == "capped inverse")

    @property
    def shown(self) -> Shown | None:
        seen = self.definition.observation
        return None if seen == "nearest" else Shown(seen.endswith("silence"), seen.startswith("position"))

    def placed(self, position: Tensor, generator: Stream) -> Tensor:
        """Landmarks of pic stand apart: each at the first of many places that is far from those before it."""
        if self.definition.placing == "uniform":
            return position
        n, luck = self.agents, generator.aside()
        places = position.clone()
        for e in range(n + 1, self.entities):
            missing = torch.ones(position.shape[:-2], dtype=torch.bool, device=position.device)
            throws = luck.aside(2**10)  # so that a seed in a batch throws as it does alone
            while bool(missing.any()):
                u = throws.uniform((*position.shape[:-2], DARTS, 2), **self.like)
                darts = self.half * (2 * u - 1)
                apart = (darts[..., :, None, :] - places[..., None, n:e, :]).square().sum(-1).amin(-1) >= APART**2
                first = apart.to(torch.uint8).argmax(-1)[..., None, None].expand(*apart.shape[:-1], 1, 2)
                found = missing & apart.any(-1)
                places[..., e, :] = torch.where(found[..., None], darts.gather(-2, first)[..., 0, :], places[..., e, :])
                missing = missing & ~found
        return places

    def rewards(self, state: Particles) -> Tensor:
        here, targets = state.position[..., : self.agents, :], state.position[..., self.agents :, :]
        closest = (here[..., :, None, :] - targets[..., None, :, :]).square().sum(-1).amin(-2).sqrt()
        worth = -closest if self.definition.coverage == "distance" else (1 / closest).clamp(max=10.0)
        covered = worth.sum(-1, keepdim=True)
        own = overlaps(here, self.physics.radius[: self.agents]).sum(-1).to(covered.dtype)
        w = self.weights
        return w.covered * covered + w.own * own + w.all * own.sum(-1, keepdim=True) + w.constant

    def observations(self, state: Particles) -> Tensor:
        """[..., n, o], as the variant's own code shows it."""
        if self.shown is not None and self.fused(state, state.position.shape[:-2].numel(), observed=True):
            position, velocity = (x.reshape(-1, self.entities, 2) for x in (state.position, state.velocity))
            seen_now = observe(position, velocity, self.agents, self.shown)
            return seen_now.reshape(*state.position.shape[:-2], *seen_now.shape[1:])
        velocity, position, landmarks, others = self.relative(state)
        seen = self.definition.observation
        if seen == "position, velocity":
            return torch.cat([position, velocity, landmarks, others], -2).flatten(-2)
        if seen == "nearest":
            k = 2 if self.agents <= 3 else 5
            near = (nearest(landmarks, k + 1), nearest(others, k))
            return torch.cat([velocity, position, *near], -2).flatten(-2)
        return torch.cat([velocity, position, landmarks, others, torch.zeros_like(others)], -2).flatten(-2)


def nearest(seen: Tensor, most: int) -> Tensor:
    """The nearest of relative positions [..., j, 2], so many at most, nearest first; ties in their order."""
    order = seen.square().sum(-1).sort(dim=-1, stable=True).indices[..., :most, None]
    return seen.gather(-2, order.expand(*order.shape[:-1], 2))
