"""What games of players with finitely many actions have in common: how many, in which numbers, and their names."""

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, TypeGuard

import torch

from gamesim.errors import refuse


def are_counts(counts: object) -> TypeGuard[tuple[int, ...] | list[int]]:
    """Whether it is a tuple or list of whole numbers above 0, at least one."""
    listed = counts if isinstance(counts, tuple | list) else ()
    return len(listed) > 0 and all(isinstance(x, Integral) and int(x) > 0 for x in listed)


def left_out(counts: object) -> bool:
    """Whether counts are an empty tuple or list; an array has no truth value to ask for."""
    return isinstance(counts, tuple | list) and not counts


class FiniteGame(ABC):
    """Players who each choose among finitely many actions."""

    @property
    @abstractmethod
    def action_counts(self) -> tuple[int, ...]:
        """How many actions each player has."""

    @property
    def batch(self) -> tuple[int, ...]:
        """The leading dimensions of a batch of games."""
        return ()

    @property
    def like(self) -> dict[str, Any]:
        """dtype and device of policies."""
        return {"dtype": torch.float64, "device": "cpu"}

    @property
    def players(self) -> tuple[str, ...]:
        """A name for each player."""
        return tuple(str(i + 1) for i in range(len(self.action_counts)))

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        """A name for each action of each player."""
        return tuple(tuple(str(a + 1) for a in range(count)) for count in self.action_counts)


def require_counts(game: FiniteGame) -> None:
    """Refuse numbers of actions, and of observations where there are some, that are none."""
    names = [name for name in ("action_counts", "observation_counts") if hasattr(game, name)]
    for name in names:
        counts: object = getattr(game, name)
        if not are_counts(counts) or len(counts) != len(game.action_counts):
            raise refuse(name, counts, "a tuple of whole numbers above 0, one for each player")
