"""A world as a planner takes it to be: another world's names and rewards, on a kernel and a Reporter of its own."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gamesim.games.latent import Truth
from gamesim.games.latent_tables import TabularWorld


@dataclass(frozen=True, kw_only=True, eq=False)
class Imagined(TabularWorld):
    """The tables that a planner reasons with in place of those of a world."""

    of: TabularWorld
    high: Tensor
    """P(t | s, g), [z, s, g, t]; z of size 1 where latents share it."""
    seen: Tensor
    """gamma(o | s), [z, s, o]."""
    truth: Truth = "prior"

    def __post_init__(self) -> None:
        self.validate()

    @property
    def horizon(self) -> int:
        return self.of.horizon

    @property
    def prior(self) -> Tensor:
        return self.of.prior

    @property
    def task_law(self) -> Tensor:
        return self.of.task_law

    @property
    def latents(self) -> tuple[str, ...]:
        return self.of.latents

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.of.tasks

    @property
    def subgoals(self) -> tuple[str, ...]:
        return self.of.subgoals

    @property
    def observations(self) -> tuple[str, ...]:
        return self.of.observations

    @property
    def about(self) -> str:
        return self.of.about

    @property
    def initial(self) -> Tensor:
        return self.of.initial

    @property
    def reward(self) -> Tensor:
        return self.of.reward

    @cached_property
    def transition(self) -> Tensor:
        return self.high.expand(len(self.prior), -1, -1, -1)

    @cached_property
    def _by_subgoal(self) -> Tensor:
        """P[g, z, s, t]; z as `high` has it."""
        return self.high.permute(2, 0, 1, 3).contiguous()

    @cached_property
    def emission(self) -> Tensor:
        return torch.as_tensor(self.seen)
