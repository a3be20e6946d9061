"""What games of players with finitely many actions have in common: how many, in which numbers, and their names."""

from abc import ABC, abstractmethod
from typing import Any

import torch


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
