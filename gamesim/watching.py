"""Watch a run at every iteration: how far it was from a given policy at most, whatever is measured in between.

    distance(x, x*) = sum_i ||x_i - x_i*||_1 / 2        total variation, summed over players

It is a solver around a solver, so that what it saw is saved and resumed with the state, and a solver that takes many
steps at once can watch along inside.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.games.game import Policy
from gamesim.randomness import Stream
from gamesim.wrapping import Around


def distance(policy: Policy, target: Policy) -> Tensor:
    """Total variation from a target, one policy [a] or [s, a] per player, summed over players and states: [...]."""
    apart = [(x - y).abs().flatten(-y.dim()).sum(-1) / 2 for x, y in zip(policy, target, strict=True)]
    return torch.stack(torch.broadcast_tensors(*apart)).sum(0)


@dataclass(frozen=True)
class Seen:
    """The state of `Watched`: the solver's own inside, and the largest distance so far, [...]."""

    inner: Any
    farthest: Tensor

    @property
    def policy(self) -> Policy:
        policy: Policy = self.inner.policy
        return policy


@dataclass(frozen=True)
class Watched(Around):
    """Any solver, with the largest distance of its iterates from a target, one policy per player [a]."""

    solver: Any
    target: Policy

    def init(self, game: Any) -> Seen:
        state = self.solver.init(game)
        return Seen(state, distance(state.policy, self.target))

    def step(self, t: int, game: Any, state: Seen, generator: Stream) -> Seen:
        inner = self.solver.step(t, game, state.inner, generator)
        return Seen(inner, torch.maximum(state.farthest, distance(inner.policy, self.target)))

    def leap(self, t: int, until: int, game: Any, state: Seen, generator: Stream) -> tuple[Seen, int] | None:
        if not getattr(self.solver, "watches", False):
            return None
        landed = self.solver.leap(t, until, game, state.inner, generator, target=self.target)
        if landed is None:
            return None
        inner, reached, farthest = landed
        return Seen(inner, torch.maximum(state.farthest, farthest)), reached
