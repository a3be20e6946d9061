"""What is played in episodes: states that players tell apart, actions, rewards, and an end.

Tabular stochastic games and simulators are both played so, and learners that only see episodes take either. A policy is
pi_i(a | s) for each player, s what that player observes.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.finite import FiniteGame, require_counts
from gamesim.games.game import Policy
from gamesim.randomness import Stream

ROOM = 3 * 10**8
"""Numbers of the episodes that are in memory at once, at most."""


@dataclass(frozen=True, eq=False)
class Episodes:
    """Episodes m of so many steps each, padded to the longest: what was played after the end is 0 and does not count.

    Leading dimensions are those of the policies that played.
    """

    observations: Tensor
    """s as each player sees it, whole numbers [..., m, time, player]."""
    actions: Tensor
    """[..., m, time, player]."""
    rewards: Tensor
    """[..., m, time, player]."""
    alive: Tensor
    """Whether the step was played, [..., m, time]."""

    @property
    def lengths(self) -> Tensor:
        """Steps played, [..., m]."""
        return self.alive.sum(-1)

    @cached_property
    def returns(self) -> Tensor:
        """Sum of rewards, [..., m, player]."""
        return self.to_go[..., 0, :]  # from the end on: padding changes no bit

    @property
    def to_go(self) -> Tensor:
        """Sum of rewards from each step on, [..., m, time, player]."""
        return self.rewards.flip(-2).cumsum(-2).flip(-2)


def require_room(batch: Sequence[int], episodes: int, players: int, steps: float) -> None:
    """Refuse episodes that no memory holds: so many for each policy of a batch, of so many steps or more."""
    many = math.prod(batch)
    numbers = many * episodes * steps * (2 * players + 1)
    if numbers > ROOM:
        each = f" for each of {many:,}" if many > 1 else ""
        shown = f"{numbers:.1e} numbers ({episodes:,} episodes{each}, {players} players, {steps:,.6g} steps or more)"
        raise refuse("episodes", shown, f"at most {ROOM:,}: fewer episodes or seeds, or an earlier end of play")


class EpisodicGame(FiniteGame):
    """A game that is played in episodes."""

    @property
    @abstractmethod
    def observation_counts(self) -> tuple[int, ...]:
        """How many states each player tells apart."""

    @abstractmethod
    def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Episodes:
        """So many episodes under policies [..., s, a], played as they are, for each element of their batch."""

    def picture(self, policy: Policy, shown: int = 4) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """What a figure needs: policies [s, a] of the first players, the mean of a batch, and names in words."""
        means = [x.reshape(-1, *x.shape[-2:]).mean(0) for x in policy[:shown]]
        names = {f"actions.{i}": list(self.actions[i]) for i in range(len(means))}
        return {f"states.{i}": x for i, x in enumerate(means)}, {"players": list(self.players[:shown]), **names}

    def start(self) -> Policy:
        """The uniform policies, [..., s, a]."""
        require_counts(self)
        sizes = zip(self.observation_counts, self.action_counts, strict=True)
        return tuple(torch.full((*self.batch, s, a), 1 / a, **self.like) for s, a in sizes)
