"""Sufficient statistics of sampled agents: how often each agent moved where, and what it earned.

    C_h(n, s, a, t) = sum_e [agent n is in s, plays a, goes to t at step h of episode e]

With finitely many states and actions every estimate here needs the data only through C and the sums of the rewards and
of their squares: their size does not grow with the episodes, and a resample of the episodes is another C. Rewards are
counted from the mean of their (s, a) over the data, so that squares of large numbers do not hide small differences.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.data import AgentData
from gamesim.errors import refuse

CELLS = 200_000_000
"""The largest table: 1.6 GB."""


@dataclass(frozen=True)
class Counts:
    """What agents or groups n did; leading dimensions are a batch."""

    moves: Tensor
    """C[..., h, n, s, a, t]."""
    earned: Tensor
    """Sums of the rewards, above `level`, [..., h, n, s, a]."""
    squared: Tensor
    """Sums of the squares of the same."""
    level: Tensor
    """What rewards are counted from, [s, a]."""

    @property
    def visits(self) -> Tensor:
        """How often each (s, a) was played, [..., h, n, s, a]."""
        return self.moves.sum(-1)

    @property
    def flow(self) -> Tensor:
        """The empirical law of the states of each agent, [..., h, n, s]."""
        seen = self.visits.sum(-1)
        return seen / seen.sum(-1, keepdim=True).clamp(min=1)

    @property
    def total(self) -> Tensor:
        """Observed moves, [...]."""
        return self.moves.sum((-5, -4, -3, -2, -1))

    def grouped(self, members: Tensor) -> "Counts":
        """Agents added up in groups: members[..., g, n] of zeros and ones -> n becomes g."""
        moves, earned, squared = (_grouped(x, members, rank) for x, rank in zip(self.parts, (5, 4, 4), strict=True))
        return Counts(moves, earned, squared, self.level)

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.moves, self.earned, self.squared

    def __getitem__(self, index: Any) -> "Counts":
        """Some of a batch of counts."""
        moves, earned, squared = (part[index] for part in self.parts)
        return Counts(moves, earned, squared, self.level)


def _grouped(x: Tensor, members: Tensor, rank: int) -> Tensor:
    """x[..., h, n, *rest] and members[..., g, n] -> [..., h, g, *rest]; rank counts h, n and the rest."""
    inner = x.shape[-rank + 2 :]
    added: Tensor = members.unsqueeze(-3) @ x.flatten(2 - rank)
    unfolded: Tensor = added.unflatten(-1, inner)
    return unfolded


def count(data: AgentData, weights: Tensor | None = None) -> Counts:
    """The counts of a data set; with weights[b, e] of its episodes, a batch of weighted ones (for the bootstrap)."""
    states, actions = data.state_count or 0, data.action_count or 0
    shape = (data.horizon, data.agents, states, actions)
    batch = 1 if weights is None else len(weights)
    if batch * math.prod(shape) * states > CELLS:
        size = f"{batch} x {' x '.join(map(str, shape))} x {states}"
        raise refuse("data", size, f"at most {CELLS} counts: fewer agents, states or resamples")
    pair = data.states * actions + data.actions
    cell = (torch.arange(data.horizon)[:, None] * data.agents + torch.arange(data.agents)) * (states * actions) + pair
    move = cell * states + data.next_states
    cells, moves = math.prod(shape), math.prod(shape) * states
    level, rewards = _levelled(data.rewards, pair, states * actions)
    level = level.reshape(states, actions)
    if weights is None:
        flat, earned = cell.flatten(), rewards
        return Counts(
            torch.bincount(move.flatten(), minlength=moves).double().reshape(*shape, states),
            torch.bincount(flat, earned, minlength=cells).reshape(shape),
            torch.bincount(flat, earned**2, minlength=cells).reshape(shape),
            level,
        )
    from scipy.sparse import csr_matrix

    each = data.horizon * data.agents
    starts = np.arange(0, data.episodes * each + 1, each)
    mixed = weights.double().numpy()  # [b, e]

    def weighted(columns: Tensor, values: Tensor, size: int) -> Tensor:
        rows = csr_matrix((values.flatten().numpy(), columns.flatten().numpy(), starts), (data.episodes, size))
        return torch.from_numpy(np.ascontiguousarray((rows.T @ mixed.T).T))

    ones = torch.ones_like(data.rewards)
    return Counts(
        weighted(move, ones, moves).reshape(batch, *shape, states),
        weighted(cell, rewards, cells).reshape(batch, *shape),
        weighted(cell, rewards**2, cells).reshape(batch, *shape),
        level,
    )


def _levelled(rewards: Tensor, pair: Tensor, pairs: int) -> tuple[Tensor, Tensor]:
    """The mean reward of each (s, a), 0 where there is none, and what each reward is above it, flat."""
    rest, pair = rewards.flatten(), pair.flatten()
    visits, level = torch.bincount(pair, minlength=pairs).clamp(min=1), torch.zeros(pairs, dtype=torch.float64)
    for _ in range(2):  # the second adds what rounding lost in the first
        level = level + torch.bincount(pair, rest, minlength=pairs) / visits
        rest = rewards.flatten() - level.index_select(0, pair)
    return level, rest
