"""Latent worlds at random, small enough to count by hand: what tests of filters, experts and planners share."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gamesim.games.latent_tables import TabularWorld
from gamesim.randomness import Stream


@dataclass(frozen=True, kw_only=True)
class Little(TabularWorld):
    """Random tables; reports are the states, or noisy."""

    hidden: bool = True
    seed: int = 0
    horizon: int = 3
    latent_count: int = 3
    truth: int | str = "prior"
    about = "somewhere"
    tasks = ("one thing", "another thing")

    @cached_property
    def _tables(self) -> tuple[Tensor, ...]:
        luck, z = Stream(self.seed), self.latent_count
        emission = torch.softmax(2 * luck.normal((z, 4, 3)), -1)
        states = torch.eye(4, dtype=torch.float64).expand(z, -1, -1)
        return (
            torch.softmax(2 * luck.normal((z, 4, 2, 4)), -1),
            emission if self.hidden else states,
            torch.softmax(luck.normal((z, 4)), -1),
            luck.uniform((2, 4))[:, : 3 if self.hidden else 4],
            torch.softmax(luck.normal((z,)), -1),
        )

    @property
    def transition(self) -> Tensor:
        return self._tables[0]

    @property
    def emission(self) -> Tensor:
        return self._tables[1]

    @property
    def initial(self) -> Tensor:
        return self._tables[2]

    @property
    def reward(self) -> Tensor:
        return self._tables[3]

    @property
    def prior(self) -> Tensor:
        return self._tables[4]

    @property
    def task_law(self) -> Tensor:
        return torch.tensor([0.3, 0.7], dtype=torch.float64)

    @property
    def latents(self) -> tuple[str, ...]:
        return tuple(f"world {i}" for i in range(self.latent_count))

    @property
    def subgoals(self) -> tuple[str, ...]:
        return "go left", "go right"

    @property
    def observations(self) -> tuple[str, ...]:
        return tuple(f"you see {i}" for i in range(self.emission.shape[-1]))
