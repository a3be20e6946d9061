"""Beach-Graphon: stand near the bar, away from the crowd of those one is connected to.

States are s = 0..n-1 around a circle with a bar in one of them; actions 0, 1, 2 move by -1, 0, +1.

    P: s -> s + (a - 1) + e  mod n,   e = 0 with 1 - noise, -1 and +1 with noise / 2 each
    r = -distance_cost d(s, bar) / (n / 2) - move_cost [a moves] - crowd z(s)        mu_0 = uniform

d is the distance around the circle. z plays no part in P, and the crowd reward is linear: the game is weakly monotone
where the graphon is positive semidefinite (uniform attachment, Erdos-Renyi, power laws).

Fabian, Cui and Koeppl, "Learning sparse graphon mean field games", AISTATS 2023; constants from their public code
(n = 10, bar 5). Zhang, Tan, Wang and Yang (arXiv 2310.08089) play it with horizon 15 and crowd 8.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch
from torch import Tensor

from gamesim.envs.graphon import fused
from gamesim.errors import refuse
from gamesim.games import GraphonGame
from gamesim.kernels.rows import Rows
from gamesim.parameters import Count, Natural, NonNegative, Probability
from gamesim.simplex import lift


@final
@dataclass(frozen=True, kw_only=True)
class Beach(GraphonGame):
    """A crowded beach with a bar, on a circle."""

    states: Count = 10
    """Places around the circle."""
    bar: Natural = 5
    """The place of the bar."""
    noise: Probability = 0.1
    """Chance to end one place beside where one meant to go."""
    crowd: NonNegative = 3.0
    """Cost of a place where all of one's neighbours stand."""
    distance_cost: NonNegative = 1.0
    """Cost of being half the circle away from the bar."""
    move_cost: NonNegative = 0.2
    """Cost of a move."""

    action_names: ClassVar[tuple[str, ...]] = ("left", "stay", "right")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bar >= self.states:
            raise refuse("bar", self.bar, f"a place from 0 to {self.states - 1}")

    @property
    def initial(self) -> Tensor:
        return torch.full((self.states,), 1 / self.states, **self.like)

    @cached_property
    def comfort(self) -> Tensor:
        """The reward of an empty beach, [..., s, a]."""
        straight = (torch.arange(self.states, **self.like) - self.bar).abs()
        distance = torch.minimum(straight, self.states - straight) / (self.states / 2)
        moves = torch.tensor([1.0, 0.0, 1.0], **self.like)
        return -lift(self.distance_cost, 3) * distance[:, None] - lift(self.move_cost, 3) * moves

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.comfort - (lift(self.crowd, 2) * z)[..., None]

    @cached_property
    def moves(self) -> Tensor:
        """P[..., s, a, t]: a circulant for each action."""
        circle = torch.eye(self.states, **self.like)
        left, stay, right = (torch.stack([circle.roll(a + e, -1) for a in (-1, 0, 1)], 1) for e in (-1, 0, 1))
        return torch.lerp(stay, (left + right) / 2, torch.as_tensor(lift(self.noise, 4), **self.like))

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.moves

    def rows(self) -> Rows:
        return Rows(reward=fused.beach_reward, parameters=(self.crowd, self.comfort), transition=self.moves)
