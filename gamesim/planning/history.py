"""What was said and heard, as whole numbers: the memory of planners that read a stream or a text.

It has room for so many episodes; when that is full, the oldest is forgotten. Runs side by side are in the same decision
of the same episode, so one count serves all.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gamesim.games.latent import LatentWorld
from gamesim.shapes import broadcast_shapes


@dataclass(frozen=True)
class History:
    """The last episodes, in order; what was not filled yet is -1."""

    tasks: Tensor
    """[..., episode]."""
    first: Tensor
    """First reports, [..., episode]."""
    subgoals: Tensor
    """[..., episode, h, k]."""
    observations: Tensor
    """The report after each decision, [..., episode, h]."""
    count: Tensor
    """Episodes that have begun, forgotten ones too: a whole number."""
    inside: Tensor
    """Decisions taken in the current episode: a whole number."""

    @classmethod
    def empty(cls, world: LatentWorld, front: tuple[int, ...], room: int) -> "History":
        """Nothing heard yet."""

        def blank(*shape: int) -> Tensor:
            return torch.full((*front, room, *shape), -1)

        zero = torch.zeros(front, dtype=torch.long)  # one number for all runs, held by each
        return cls(blank(), blank(), blank(world.horizon, world.actors), blank(world.horizon), zero, zero)

    @property
    def room(self) -> int:
        return self.tasks.shape[-1]

    @property
    def episodes(self) -> int:
        """Episodes that have begun."""
        return _number(self.count)

    @property
    def kept(self) -> int:
        """Episodes that are remembered, the current one among them."""
        return min(self.episodes, self.room)

    @property
    def decisions(self) -> int:
        """Decisions taken in the current episode."""
        return _number(self.inside)

    def met(self, task: Tensor, observation: Tensor) -> "History":
        """A new episode."""
        front = broadcast_shapes(self.tasks.shape[:-1], task.shape, observation.shape)
        parts = [self.tasks, self.first, self.subgoals, self.observations]
        parts = [x.expand(*front, *x.shape[self.count.dim() :]) for x in parts]
        if self.episodes >= self.room:
            parts = [
                torch.cat([x.narrow(d, 1, self.room - 1), torch.full_like(x.narrow(d, 0, 1), -1)], d)
                for x, d in zip(parts, (-1, -1, -3, -2), strict=True)
            ]
        place = min(self.episodes, self.room - 1)
        tasks, first, subgoals, observations = (x.clone() for x in parts)
        tasks[..., place], first[..., place] = task, observation
        count = self.count.expand(front) + 1
        return History(tasks, first, subgoals, observations, count, torch.zeros_like(count))

    def heard(self, h: int, subgoal: Tensor, observation: Tensor) -> "History":
        """After decision h of the current episode."""
        place = self.kept - 1
        subgoals, observations = self.subgoals.clone(), self.observations.clone()
        subgoals[..., place, h, :], observations[..., place, h] = subgoal, observation
        return replace(self, subgoals=subgoals, observations=observations, inside=self.inside + 1)


def _number(x: Tensor) -> int:
    return int(x.flatten()[0])
