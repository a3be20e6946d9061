"""What solvers of bandits share: they play a round at each step, and many rounds at once where nobody looks on."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from gamesim.feedback.play import draw_actions
from gamesim.games.bandit import BanditGame, Round, Tally
from gamesim.games.game import Policy
from gamesim.games.luck import Ahead
from gamesim.randomness import Stream

S = TypeVar("S", bound="Learned")


@dataclass(frozen=True)
class Learned:
    """How the next arm is drawn, what was learned of the arms, [..., a] each, and the accounts."""

    policy: Policy
    tally: Tally

    @property
    def metrics(self) -> dict[str, Tensor]:
        return self.tally.metrics


@dataclass(frozen=True)
class Means(Learned):
    """Pulls n[..., a] and the sums of rewards[..., a]; arm 0 comes first."""

    pulls: Tensor
    sums: Tensor

    @classmethod
    def of(cls, game: BanditGame) -> "Means":
        """Before the first round."""
        zero = torch.zeros_like(game.start()[0])
        return cls((optimistic(zero, zero),), Tally.of(game), zero, zero)


@dataclass(frozen=True)
class Losses(Learned):
    """Sums of losses, or of their estimates, [..., a]."""

    losses: Tensor

    @classmethod
    def of(cls, game: BanditGame) -> "Losses":
        """Before the first round."""
        start = game.start()
        return cls(start, Tally.of(game), torch.zeros_like(start[0]))


class Rounds(ABC):
    """A solver of bandits: its step is a round."""

    requires: ClassVar[Any] = BanditGame
    needs_stationary: ClassVar[str] = ""
    """What a solver is promised only where arms stay as they are."""

    def cautions(self, game: Any) -> list[str]:
        if game.stationary or not self.needs_stationary:
            return []
        return [f"game: its arms change with time, and {self.needs_stationary}; exp3-spec is made for that"]

    @abstractmethod
    def step(self, t: int, game: Any, state: Any, generator: Stream) -> Any:
        """Play round t and learn from it."""

    def leap(self, t: int, until: int, game: Any, state: Any, generator: Stream) -> tuple[Any, int]:
        """The same steps with luck drawn ahead; none once every run has ended, since none would change anything."""
        ahead = Ahead(generator, until)
        for s in range(t, until):
            if s % 64 == 0 and not bool(state.tally.playing.any()):
                break
            state = self.step(s, game, state, ahead.at(s))
        return state, until


def play_round(game: BanditGame, t: int, state: Learned, generator: Stream) -> Round:
    """Draw an arm from the policy and pull it; luck comes first to the player, then to nature."""
    return state.tally.play(game, t, draw_actions(state.policy, generator), generator)


def optimistic(index: Tensor, pulls: Tensor) -> Tensor:
    """The policy of the greatest index[..., a], and of the first arm without a pull before any other."""
    best = torch.where(pulls == 0, math.inf, index).argmax(-1, keepdim=True)
    return torch.zeros_like(index).scatter(-1, best, 1.0)


def weighted(pulled: Tensor, seen: Tensor, p: Tensor) -> Tensor:
    """1{I = i} seen_i / p_i, [..., a]; arms whose probability underflowed to zero are not pulled."""
    return torch.where(pulled > 0, seen / p, 0.0)
