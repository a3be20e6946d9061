"""Games whose payoff tensor follows from a few parameters: what the classics and the random families share.

A parameter that is a tensor makes a batch of games, one for each of its numbers: `Chicken(crash=tensor([0., -9.]))`.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games import DenseGame
from gamesim.games.matrix import LARGEST, as_payoffs
from gamesim.parameters import Bounds, Device, check
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes
from gamesim.simplex import lift

Few = Annotated[int, Bounds("a whole number from 2 to 20", 2, 20)]
"""Players of a game whose tensor has a dimension for each."""
Choices = Annotated[int, Bounds("a whole number from 2 to 100,000", 2, 100_000)]
"""Actions where a single one would leave nothing to choose."""
Sizes = Annotated[int, Bounds("a whole number from 1 to 100,000", 1, 100_000)]
Law = Literal["uniform", "normal"]
PAYOFFS = 2**31 - 1
"""An iteration that no run reaches: a game shares no random numbers with its play from the same seed."""


@dataclass(frozen=True, kw_only=True)
class TableGame(DenseGame):
    """A game that writes its payoff tensor from its parameters, when it is first asked for."""

    dtype: Literal["float32", "float64"] = "float64"
    """Precision of payoffs and policies."""
    device: Device = "cpu"
    """Where tensors live."""

    def __post_init__(self) -> None:
        check(self)
        self.validate()
        given = (value.shape for value in vars(self).values() if isinstance(value, Tensor))
        self._require_size(broadcast_shapes((), *given))

    def _require_size(self, batch: Sequence[int]) -> None:
        numbers = math.prod(batch) * len(self.action_counts) * math.prod(self.action_counts)
        if numbers > LARGEST:
            shown = " x ".join(map(str, self.action_counts))
            games = f", {math.prod(batch)} games" if batch else ""
            wanted = f"at most {LARGEST:,}: fewer players or actions, or a structured game (docs/games/matrix.md)"
            raise refuse("payoffs", f"{numbers:.1e} numbers ({shown} profiles{games})", wanted)

    def validate(self) -> None:
        """Refuse parameters that contradict one another."""

    @property
    @abstractmethod
    def action_counts(self) -> tuple[int, ...]: ...

    @abstractmethod
    def table(self) -> Tensor:
        """u[..., player, a1, ..., an], in float64."""

    @cached_property
    def payoffs(self) -> Tensor:
        u = as_payoffs(self.table(), player_count=len(self.action_counts))
        return u.to(self.device, getattr(torch, self.dtype)).contiguous()

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions, where all players have the same ones."""
        return ()

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return (self.action_names,) * len(self.action_counts) if self.action_names else super().actions

    def lifted(self, *names: str) -> list[Tensor]:
        """Parameters that broadcast against u[player, a1, ..., an]."""
        rank = 1 + len(self.action_counts)
        return [torch.as_tensor(lift(as_number(getattr(self, name)), rank)) for name in names]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is drawn at random: which one, and how many."""

    seed: Annotated[int, Bounds("a whole number from 0 to 2^62", 0, 2**62)] = 0
    """Which game of the family; the same number gives the same game on any machine."""
    games: Annotated[int, Bounds("a whole number from 1 to 10,000,000", 1, 10**7)] | None = None
    """None for one game; a number for a batch of so many, with the seeds seed, seed + 1, ..."""

    @property
    def many(self) -> tuple[int, ...]:
        """The dimension of a batch of games, if there is one."""
        return () if self.games is None else (self.games,)

    def stream(self) -> Stream:
        """The random numbers of the game, or of each game of the batch."""
        return Stream(self.seed if self.games is None else range(self.seed, self.seed + self.games), PAYOFFS)

    def draw(self, stream: Stream, *shape: int, law: Law = "uniform") -> Tensor:
        """[*shape] numbers for each game: uniform on (-1, 1), or standard normal."""
        whole = (*self.many, *shape)
        return stream.normal(whole) if law == "normal" else 2 * stream.uniform(whole) - 1


@dataclass(frozen=True, kw_only=True)
class SeededGame(TableGame, Drawn):
    """A payoff tensor drawn at random."""

    action_count: Sizes | tuple[Sizes, ...] = 3
    """Actions of every player, or a list with a number for each player."""

    player_count = 2

    def __post_init__(self) -> None:
        check(self)
        each = self.action_count
        if isinstance(each, tuple) and len(each) != self.player_count:
            raise refuse("action_count", list(each), f"{self.player_count} numbers, one for each player")
        self._require_size(self.many)
        self.validate()

    @property
    def action_counts(self) -> tuple[int, ...]:
        each = self.action_count
        return each if isinstance(each, tuple) else (each,) * (self.player_count or 0)


def as_number(value: Any) -> Tensor:
    """A parameter as float64 on the CPU, where tables are written."""
    return torch.as_tensor(value, dtype=torch.float64, device="cpu")


def entries(rows: Sequence[Sequence[Any]]) -> Tensor:
    """A matrix [..., row, column] from numbers and tensors [...]."""
    cells = torch.broadcast_tensors(*(as_number(x) for row in rows for x in row))
    return torch.stack(cells, -1).reshape(*cells[0].shape, len(rows), len(rows[0]))


def symmetric(rows: Sequence[Sequence[Any]]) -> Tensor:
    """u[..., player, a1, a2] of two players who see the same game: B is the transpose of A."""
    first = entries(rows)
    return torch.stack([first, first.mT], -3)


def profiles(counts: Sequence[int]) -> Tensor:
    """Who does what in every profile: [player, a1, ..., an], whole numbers as float64."""
    axes = [torch.arange(count, dtype=torch.float64) for count in counts]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def require_descending(game: Any, *names: str) -> None:
    """Refuse parameters unless each is above the next."""
    for high, low in pairwise(names):
        above, below = getattr(game, high), getattr(game, low)
        if not bool((as_number(above) > as_number(below)).all()):
            raise refuse(high, above, f"a number above {low}, which is {below}")
