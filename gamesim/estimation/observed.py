"""What a regression sees: counts at places k = (step, agent), and how much each of them weighs.

A move from (s, a) at place k weighs w = 1 / (1 - sum_t P(t)^2), with P the law of where it went, estimated before. The
weighted squares of the one-hot next state then are, for two states, the likelihood to second order.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from gamesim.estimation.counts import Counts
from gamesim.simplex import project

FLOOR = 1e-7
"""Of the variance of the rewards: noise below it counts as none."""
ROUNDING = 1e-28
"""Of the squares of the rewards: variation below it is that of numbers in floating point."""
SHARPEST = 1e-3
"""The smallest 1 - sum P^2 that weighs an observation."""


@dataclass(frozen=True)
class Observed:
    """Counts with h and n as one dimension k; leading dimensions are a batch of samples."""

    moves: Tensor
    """[..., k, s, a, t]."""
    earned: Tensor
    """[..., k, s, a]."""
    squared: Tensor
    """[..., k, s, a]."""
    weights: Tensor
    """[..., k, s, a]."""
    level: Tensor
    """What rewards are counted from, [s, a]."""

    @classmethod
    def of(cls, counts: Counts) -> "Observed":
        """With weights from the frequencies over all places."""
        moves, earned, squared = (
            part.flatten(part.dim() - rank, part.dim() - rank + 1)
            for part, rank in zip(counts.parts, (5, 4, 4), strict=True)
        )
        pooled = moves.sum(-4, keepdim=True)
        law = pooled / pooled.sum(-1, keepdim=True).clamp(min=1)
        return cls(moves, earned, squared, _weights(law).expand_as(earned), counts.level)

    def weighed(self, law: Tensor) -> "Observed":
        """With the weights that estimated laws[..., k, s, a, t] ask for; what is no distribution is projected first."""
        return replace(self, weights=_weights(project(law)))

    @cached_property
    def visits(self) -> Tensor:
        """How often each (s, a) was played, [..., k, s, a]."""
        return self.moves.sum(-1)

    @cached_property
    def weighted_moves(self) -> Tensor:
        return self.weights[..., None] * self.moves

    @cached_property
    def weighted_visits(self) -> Tensor:
        return self.weights * self.visits

    @cached_property
    def total(self) -> Tensor:
        """Moves, [...]."""
        return self.visits.sum((-3, -2, -1))

    @cached_property
    def reward_noise(self) -> Tensor:
        """The least sum of squares of rewards that is told from none, [...]."""
        return least_squares(self.visits.sum(-3), self.squared.sum(-3), self.level)

    @cached_property
    def rewards_tell(self) -> bool:
        """Whether rewards vary where the state and the action do not; else they say nothing of the graphon."""
        visits, earned, squared = (x.sum(-3) for x in (self.visits, self.earned, self.squared))
        within = squared - earned.square() / visits.clamp(min=1)
        return bool((within.sum((-2, -1)) > self.reward_noise).any())


def least_squares(visits: Tensor, squared: Tensor, level: Tensor) -> Tensor:
    """What counts as no variation of rewards around a fit, [...], from visits[..., s, a] and squared[..., s, a]."""
    pairs = (-2, -1)
    mean = (visits * level).sum(pairs) / visits.sum(pairs)
    spread = (visits * (level - mean[..., None, None]).square() + squared).sum(pairs)
    return (FLOOR * spread).maximum(ROUNDING * (visits * level.square() + squared).sum(pairs)).clamp(min=1e-300)


def _weights(law: Tensor) -> Tensor:
    return 1 / (1 - law.square().sum(-1)).clamp(min=SHARPEST)
