"""Predators and prey: predators are slower and paid for every catch, prey are paid for none and for staying in sight.

With predators i, prey j and B the number of pairs of them that overlap,

    r_i = 10 B,        r_j = -10 #{i: i overlaps j} - b(|x_j|) - b(|y_j|)
    b(z) = 0 below 0.9,  10 (z - 0.9) below 1,  min(e^(2 z - 2), 10) from there on

Obstacles stand still and push. Lowe et al., "Multi-agent actor-critic for mixed cooperative-competitive environments",
NeurIPS 2017; variants are simple_tag_v3 of mpe2 1.1.1, which moves positions by the velocity from before a step, and
the scenario simple_tag of openai/multiagent-particle-envs, which moves them by the velocity from after it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from gamesim.envs.sets.discs import Choice, Crowd, Discs, Precision, Radius, Several, overlaps
from gamesim.envs.sets.moves import Outside
from gamesim.games.worlds import Particles
from gamesim.kernels.particles import Pay, Physics
from gamesim.parameters import Count, Device
from gamesim.randomness import Stream

PREDATOR, PREY, OBSTACLE = (0.075, 3.0, 1.0), (0.05, 4.0, 1.3), 0.2
"""Radius, strength of a force and speed limit; radius."""
INNER, CATCH, SHAPE = 0.9, 10.0, 0.1


@final
@dataclass(frozen=True, kw_only=True)
class Tag(Discs):
    """Slow predators hunt fast prey among obstacles; of two teams."""

    predators: Crowd = 3
    """How many hunt."""
    prey: Crowd = 1
    """How many are hunted."""
    obstacles: Several = 2
    """How many stand in the way."""
    variant: Literal["mpe2", "openai"] = "mpe2"
    """mpe2 moves positions before velocities, openai after them."""
    shaped: bool = False
    """Whether predators also lose 0.1 of each one's way to its nearest prey, and prey gain 0.1 of the way to each."""
    actions: Choice = "discrete"
    """Five moves, or a force in [-1, 1]^2."""
    steps: Count = 25
    """Steps of an episode."""
    radius: Radius | None = None
    """Half the side of the square that agents begin in; none for 1."""
    outside: Outside = "clip"
    """What is done with a force beyond [-1, 1]."""
    device: Device = "cpu"
    """Where tensors live."""
    dtype: Precision = "float32"
    """Precision of all numbers."""

    kinds_of_entity = ("predator", "prey", "obstacle")

    @property
    def acting(self) -> int:
        return self.predators + self.prey

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"adversary_{i}" for i in range(self.predators)) + tuple(f"agent_{i}" for i in range(self.prey))

    @property
    def facts(self) -> dict[str, str]:
        """What is particular to the variant, by name of the fact."""
        first = self.variant == "mpe2"
        return {"integration": "position, then velocity" if first else "velocity, then position"}

    @cached_property
    def types(self) -> Tensor:
        kinds = [0] * self.predators + [1] * self.prey + [2] * self.obstacles
        return torch.tensor(kinds, dtype=torch.uint8, device=self.device)

    @property
    def half(self) -> float:
        return 1.0 if self.radius is None else self.radius

    @cached_property
    def physics(self) -> Physics:
        radius, strength, fastest = zip(*[PREDATOR] * self.predators, *[PREY] * self.prey, strict=True)
        return Physics(
            torch.tensor([*radius, *[OBSTACLE] * self.obstacles], **self.like),
            torch.tensor(strength, **self.like),
            torch.tensor(fastest, **self.like),
            colliding=self.acting + self.obstacles,
            position_first=self.variant == "mpe2",
            limited=True,
        )

    @cached_property
    def pay(self) -> Pay | None:
        return None if self.shaped else Pay("tag", teams=(0,) * self.predators + (1,) * self.prey)

    def placed(self, position: Tensor, generator: Stream) -> Tensor:
        """Obstacles stand a little further in."""
        n = self.acting
        return torch.cat([position[..., :n, :], INNER * position[..., n:, :]], -2)

    def rewards(self, state: Particles) -> Tensor:
        n, p = self.acting, self.predators
        caught = overlaps(state.position[..., :n, :], self.physics.radius[:n])[..., :p, p:].to(state.position.dtype)
        hunters = CATCH * caught.sum((-2, -1))[..., None].expand(*caught.shape[:-2], p)
        z = state.position[..., p:n, :].abs()
        far = torch.where(z < 1, (z - INNER) * 10, (2 * z - 2).exp().clamp(max=10.0))
        hunted = -CATCH * caught.sum(-2) - torch.where(z < INNER, 0.0, far).sum(-1)
        if self.shaped:
            apart = state.position[..., :p, None, :] - state.position[..., None, p:n, :]
            way = apart.square().sum(-1).sqrt()
            hunters = hunters - SHAPE * way.amin(-1).sum(-1)[..., None]
            hunted = hunted + SHAPE * way.sum(-2)
        return torch.cat([hunters, hunted], -1)

    def observations(self, state: Particles) -> tuple[Tensor, Tensor]:
        """Of predators [..., p, o] and of prey [..., q, o']: nobody is shown its own velocity twice."""
        n, p = self.acting, self.predators
        velocity, position, obstacles, others = self.relative(state)
        seen = torch.cat([velocity, position, obstacles, others], -2).flatten(-2)
        fast = state.velocity[..., None, p:n, :].expand(*state.velocity.shape[:-2], n, self.prey, 2)
        of_others = fast[..., p:, :, :][..., ~torch.eye(self.prey, dtype=torch.bool, device=fast.device), :]
        of_others = of_others.reshape(*fast.shape[:-3], self.prey, 2 * (self.prey - 1))
        return torch.cat([seen[..., :p, :], fast[..., :p, :, :].flatten(-2)], -1), torch.cat(
            [seen[..., p:, :], of_others], -1
        )
