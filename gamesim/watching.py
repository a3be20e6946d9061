"""Watch a run at every iteration: how far it was from a given policy at most, whatever is measured in between.

    distance(x, x*) = max_i ||x_i - x_i*||_1 / 2        the largest total variation of a player

It is a solver around a solver, so that what it saw is saved and resumed with the state, and a solver that takes many
steps at once can watch along inside.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.games.game import Game, Policy
from gamesim.randomness import Stream


def distance(policy: Policy, target: Policy) -> Tensor:
    """The largest total variation between a player's policy and its target, [...]; between 0 and 1."""
    apart = [(x - y).abs().flatten(y.dim() * -1).sum(-1) / 2 for x, y in zip(policy, target, strict=True)]
    return torch.stack(torch.broadcast_tensors(*apart)).amax(0)


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
class Watched:
    """Any solver, with the largest distance of its iterates from a target, one policy per player [a]."""

    solver: Any
    target: Policy

    @property
    def requires(self) -> Any:
        return getattr(self.solver, "requires", Game)

    @property
    def measures(self) -> dict[str, Any]:
        return dict(getattr(self.solver, "measures", {}))

    def init(self, game: Any) -> Seen:
        state = self.solver.init(game)
        return Seen(state, distance(state.policy, self.target))

    def step(self, t: int, game: Any, state: Seen, generator: Stream) -> Seen:
        inner = self.solver.step(t, game, state.inner, generator)
        return Seen(inner, torch.maximum(state.farthest, distance(inner.policy, self.target)))

    def leap(self, t: int, until: int, game: Any, state: Seen, generator: Stream) -> tuple[Seen, int] | None:
        watching = getattr(self.solver, "leap_watching", None)
        if watching is None:
            return None
        landed = watching(t, until, game, state.inner, generator, self.target)
        if landed is None:
            return None
        inner, reached, farthest = landed
        return Seen(inner, torch.maximum(state.farthest, farthest)), reached
