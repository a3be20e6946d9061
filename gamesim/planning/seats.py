"""Who can sit in a repeated matrix game, round by round: planners and machines, and gamesim.planning.learners.

In round t both act, and each is told what the other did. A planner says its subgoal and hears both actions as a report
of the world of opponents that it supposes; a machine moves on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor

from gamesim.games import DenseGame, MatrixGame
from gamesim.games.latent import LatentWorld, shared
from gamesim.planning.planner import Planner
from gamesim.randomness import Stream
from gamesim.simplex import drawn


class Seat(ABC):
    """An entrant that sits in a game, its own payoffs u[a, b] first; states are tensors with a place for each seed."""

    @abstractmethod
    def begin(self, front: tuple[int, ...]) -> Any:
        """The state before anything was played."""

    def meet(self, state: Any, generator: Stream) -> Any:
        """A match begins."""
        return state

    @abstractmethod
    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        """The action in round t, which is round h of its match, [...]."""

    @abstractmethod
    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        """The state after the round; the luck is that of `act` again."""


class Entrant(Protocol):
    """Who takes part, by a name that no other entrant has."""

    @property
    def name(self) -> str: ...

    def seated(self, game: DenseGame) -> Seat:
        """At the first seat of a game."""
        ...


@final
@dataclass(frozen=True)
class Planned:
    """A planner, and the world of opponents that it supposes for the game of its seat."""

    name: str
    planner: Planner
    world: Callable[[DenseGame], LatentWorld]

    def seated(self, game: DenseGame) -> Seat:
        world = self.world(game)
        self.planner.require(world)
        return _Planner(self.planner, world, game.action_counts[1])


@dataclass(frozen=True)
class _Planner(Seat):
    planner: Planner
    world: LatentWorld
    columns: int

    def begin(self, front: tuple[int, ...]) -> Any:
        return torch.zeros(front, dtype=torch.long), self.planner.begin(self.world, front)

    def meet(self, state: Any, generator: Stream) -> Any:
        task, memory = state
        task = drawn(self.world.task_law, shared(generator, task.shape, 1)[..., 0].expand(task.shape))
        return task, self.planner.meet(self.world, memory, task, torch.zeros_like(task), generator)

    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        task, memory = state
        return self.planner.propose(self.world, h, task, memory, generator).subgoal[..., 0]

    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        task, memory = state
        return task, self.planner.hear(self.world, h, memory, own.unsqueeze(-1), 1 + own * self.columns + other)


class Moore(Protocol):
    """An automaton of the second seat, as `gamesim.envs.latent.automata` has them."""

    @property
    def successor(self) -> Tensor: ...

    def trembling(self, tremble: float) -> Tensor: ...


@final
@dataclass(frozen=True)
class Machine:
    """An automaton; `made` makes it for the second seat of a game."""

    name: str
    made: Callable[[DenseGame], Moore]
    tremble: float = 0.0

    def seated(self, game: DenseGame) -> Seat:
        made = self.made(turned(game))
        return _Machine(made.trembling(self.tremble), made.successor)


@dataclass(frozen=True)
class _Machine(Seat):
    law: Tensor
    successor: Tensor

    def begin(self, front: tuple[int, ...]) -> Any:
        return torch.zeros(front, dtype=torch.long)

    def meet(self, state: Any, generator: Stream) -> Any:
        return torch.zeros_like(state)

    def act(self, t: int, h: int, state: Any, generator: Stream) -> Tensor:
        return drawn(self.law[state], shared(generator, state.shape, 1)[..., 0].expand(state.shape))

    def learn(self, t: int, h: int, state: Any, own: Tensor, other: Tensor, generator: Stream) -> Any:
        return self.successor[state, other, own]


def turned(game: DenseGame) -> MatrixGame:
    """The same game seen from the second seat: players change places."""
    payoffs = game.payoffs.flip(-3).mT.contiguous()
    players, actions = tuple(reversed(game.players)), tuple(reversed(game.actions))
    return MatrixGame(payoffs, players, actions, player_count=2, title=getattr(game, "title", ""))
