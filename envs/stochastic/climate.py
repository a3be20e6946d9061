"""A climate commons: emissions pay who emits, and warm what belongs to all, up to a point of no return.

Warming has levels l = 0..L-1. Player i emits the share e_i = a_i / (A - 1) of the most it can, and with the mean share
e the warming changes by

    +1    with chance rate e                          (not beyond the highest level)
    -1    with chance recovery (1 - e)                (not below 0, and never from the tipping point on)

    R_i = benefit e_i - damage (l / (L - 1))^2

Who abstains lowers the chance of warming by rate / N only, and alone pays for it. Beyond the tipping point nothing that
anyone does brings recovery. A dilemma of a dangerous threshold as in Barrett and Dannenberg, PNAS 109 (2012), repeated
in the manner of the ecological public goods of Barfuss, Donges, Vasconcelos, Kurths and Levin, PNAS 117 (2020); the
numbers are ours.
"""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.matrix.table import Choices, Few, profiles
from gamesim.envs.stochastic.table import Below1, WrittenGame, along
from gamesim.errors import refuse
from gamesim.games import Sparse
from gamesim.parameters import Bounds, Natural, NonNegative, Probability

Levels = Annotated[int, Bounds("a whole number from 2 to 10,000", 2, 10_000)]


@final
@dataclass(frozen=True, kw_only=True)
class Climate(WrittenGame):
    """Emit and warm everybody, or abstain and be warmed by the others."""

    player_count: Few = 2
    """Number of players, N."""
    levels: Levels = 5
    """Levels of warming, L."""
    action_count: Choices = 2
    """Emissions to choose from, A: nothing, everything, and what is between them."""
    rate: Probability = 0.6
    """Chance of a level more while everybody emits the most."""
    recovery: Probability = 0.3
    """Chance of a level less while nobody emits."""
    tipping: Natural | None = 3
    """The first level without recovery; none: there is always recovery."""
    benefit: NonNegative = 1.0
    """Of who emits the most."""
    damage: NonNegative = 4.0
    """At the highest level, for everybody."""
    discount: Below1 = 0.95
    """Weight of the next step."""

    def agree(self) -> None:
        if self.tipping is not None and self.tipping >= self.levels:
            raise refuse("tipping", self.tipping, f"a level below {self.levels}, or none")

    @property
    def action_counts(self) -> tuple[int, ...]:
        return (self.action_count,) * self.player_count

    @property
    def state_count(self) -> int:
        return self.levels

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(str(level) for level in range(self.levels))

    @property
    def successor_count(self) -> int:
        return 3

    def opening(self) -> Tensor:
        return torch.eye(self.levels, dtype=torch.float64)[0]

    @property
    def _emitted(self) -> Tensor:
        """e_i in every profile, [player, a1, ..., an]."""
        return profiles(self.action_counts) / (self.action_count - 1)

    def payments(self) -> Tensor:
        benefit, damage = self.lifted("benefit", "damage")
        level = along(torch.linspace(0, 1, self.levels, dtype=torch.float64), 1, 2 + self.player_count)
        return benefit * self._emitted.unsqueeze(1) - damage * level**2

    def motion(self) -> Sparse:
        rank = 2 + self.player_count
        rate, recovery = self.lifted("rate", "recovery")
        level, mean = along(torch.arange(self.levels), 0, rank), self._emitted.mean(0)[None, ..., None]
        tipped = level >= (self.levels if self.tipping is None else self.tipping)
        up = torch.where(level < self.levels - 1, rate * mean, 0.0)
        down = torch.where((level > 0) & ~tipped, recovery * (1 - mean), 0.0)
        chances = torch.cat(torch.broadcast_tensors(down, 1 - up - down, up), -1)
        to = torch.cat([level - 1, level, level + 1], -1).clamp(0, self.levels - 1)
        return Sparse(to.expand(chances.shape[-rank:]), chances)
