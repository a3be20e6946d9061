"""Stochastic games whose tables follow from a few parameters: what all families here share.

A parameter that is a tensor makes a batch of games, one for each of its numbers; where a family takes a seed, `games`
makes the batch. Sizes are refused before anything is written.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gamesim.envs.matrix.table import as_number
from gamesim.errors import refuse
from gamesim.games import Sparse, TabularGame
from gamesim.games.matrix import LARGEST
from gamesim.parameters import Bounds, Device, check
from gamesim.shapes import broadcast_shapes
from gamesim.simplex import lift

Below1 = Annotated[float, Bounds("a number between 0 and 1, ends excluded", 0, 1, True, True)]
"""The discount of a game that would never stop without."""
UpTo1 = Annotated[float, Bounds("a number above 0 and at most 1", 0, 1, low_open=True)]
"""The discount of a game that stops anyway."""
Cells = Annotated[int, Bounds("a whole number from 1 to 1,000", 1, 1000)]
"""Along a side of a board."""
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))
"""Rows and columns that the actions of a game on a board lead to."""
NAMES = ("north", "east", "south", "west", "stand")


@dataclass(frozen=True, kw_only=True)
class WrittenGame(TabularGame):
    """A stochastic game that writes its tables from its parameters, when they are first asked for."""

    dtype: Literal["float32", "float64"] = "float64"
    """Precision of tables and policies."""
    device: Device = "cpu"
    """Where tensors live."""

    def __post_init__(self) -> None:
        check(self)
        self.agree()
        given = {name: tuple(value.shape) for name, value in vars(self).items() if isinstance(value, Tensor)}
        try:
            batch = broadcast_shapes(self.many, *given.values())
        except RuntimeError:
            raise refuse(next(iter(given)), f"shapes {given}", "tensors of parameters that broadcast") from None
        self._require_size(batch)

    def agree(self) -> None:
        """Refuse parameters that contradict one another."""

    @property
    def many(self) -> tuple[int, ...]:
        """The dimension of a batch of seeds, if there is one."""
        return ()

    @property
    def successor_count(self) -> int:
        """How many numbers the law of the next state has for a state and a joint action."""
        return self.state_count

    def _require_size(self, batch: Sequence[int]) -> None:
        states, joint, players = self.state_count, self.joint_count, len(self.action_counts)
        numbers = math.prod(batch) * states * max(joint * max(players, self.successor_count), states)
        if numbers > LARGEST:
            games = f", {math.prod(batch):,} games" if batch else ""
            shown = f"{numbers:.1e} numbers ({_words(states)} states, {_words(joint)} joint actions{games})"
            raise refuse("tables", shown, f"at most {LARGEST:,}: fewer states, players, actions or games")

    @abstractmethod
    def payments(self) -> Tensor:
        """R[..., player, s, a1, ..., an], in float64."""

    @abstractmethod
    def motion(self) -> Tensor | Sparse:
        """P[..., s, a1, ..., an, t], in float64, or the states that can follow."""

    def opening(self) -> Tensor:
        """rho[..., s], in float64."""
        return torch.full((self.state_count,), 1 / self.state_count, dtype=torch.float64)

    @cached_property
    def reward(self) -> Tensor:
        return self._put(self.payments())

    @cached_property
    def transition(self) -> Tensor | Sparse:
        motion = self.motion()
        if isinstance(motion, Sparse):
            return Sparse(motion.successors.to(self.device), self._put(motion.probabilities))
        return self._put(motion)

    @cached_property
    def initial(self) -> Tensor:
        return self._put(self.opening())

    def _put(self, table: Tensor) -> Tensor:
        found: Tensor = table.to(self.device, getattr(torch, self.dtype))
        return found

    def lifted(self, *names: str) -> list[Tensor]:
        """Parameters that broadcast against R[player, s, a1, ..., an] and P[s, a1, ..., an, t] alike."""
        rank = 2 + len(self.action_counts)
        return [torch.as_tensor(lift(as_number(getattr(self, name)), rank)) for name in names]


def along(values: Any, axis: int, rank: int) -> Tensor:
    """A list of numbers as a tensor that lies along one of so many dimensions."""
    line: Tensor = torch.as_tensor(values)
    return line.reshape([-1 if k == axis else 1 for k in range(rank)])


def merged(successors: Tensor, probabilities: Tensor) -> Sparse:
    """Outcomes [..., k] of chance with the same next state put together; -1 is the end of the episode."""
    successors, probabilities = torch.broadcast_tensors(successors, probabilities)
    order = successors.argsort(-1)
    to, p = successors.gather(-1, order), probabilities.gather(-1, order)
    new = torch.ones_like(to, dtype=torch.bool)
    new[..., 1:] = (to[..., 1:] != to[..., :-1]) & (to[..., 1:] >= 0)
    place = (new.cumsum(-1) - 1).clamp(min=0)
    width = int(place.max()) + 1
    states, sums = to.new_zeros(*to.shape[:-1], width), p.new_zeros(*to.shape[:-1], width)
    states.scatter_(-1, place, to.clamp(min=0))
    return Sparse(states, sums.scatter_add_(-1, place, torch.where(to >= 0, p, 0.0)))


def rounded(values: Tensor, levels: int) -> Sparse:
    """A number between 0 and levels - 1 as the two whole ones around it, with the chances that make it their mean."""
    low = values.floor().clamp(0, levels - 1)
    high = (low + 1).clamp(max=levels - 1)
    share = (values - low).clamp(0, 1)
    return Sparse(torch.stack([low, high], -1).long(), torch.stack([1 - share, share], -1))


def _words(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"{count:.1e}"
