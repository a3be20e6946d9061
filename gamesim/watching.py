"""Watch a run at every iteration: how far it was from a given policy, and when it was there for good.

    distance(x, x*) = sum_i ||x_i - x_i*||_1 / 2        total variation, summed over players

They are solvers around a solver, so that what they saw is saved and resumed with the state, and a solver that takes
many steps at once can watch along inside: it names in `watches` what its leaps can see.
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
        landed = _leap(self, "farthest", t, until, game, state, generator)
        if landed is None:
            return None
        inner, reached, saw = landed
        return Seen(inner, torch.maximum(state.farthest, saw.farthest)), reached


@dataclass(frozen=True)
class Arrived:
    """The state of `Settling`: the solver's own inside, and the last iteration at which it was not at the target."""

    inner: Any
    last_wrong: Tensor
    """[...]; -1 if it never was anywhere else."""
    squared_distance: Tensor
    """sum_i ||x_i - x_i*||^2 now, [...]."""

    @property
    def policy(self) -> Policy:
        policy: Policy = self.inner.policy
        return policy

    @property
    def metrics(self) -> dict[str, Tensor]:
        own: dict[str, Tensor] = getattr(self.inner, "metrics", {})
        return own | {"last_wrong": self.last_wrong, "squared_distance": self.squared_distance}


@dataclass(frozen=True)
class Settling(Around):
    """Any solver, with the last iteration whose policy was not exactly the target, one tensor per player."""

    solver: Any
    target: Policy
    inner: int | None = None
    """Dimensions of one policy, where there is a target for each game of a batch; all those of the target otherwise."""

    def init(self, game: Any) -> Arrived:
        state = self.solver.init(game)
        apart = squared_distance(state.policy, self.target, self.inner)
        return Arrived(state, torch.where(_elsewhere(state.policy, self.target, self.inner), 0, -1), apart)

    def step(self, t: int, game: Any, state: Arrived, generator: Stream) -> Arrived:
        inner = self.solver.step(t, game, state.inner, generator)
        wrong = torch.where(_elsewhere(inner.policy, self.target, self.inner), t + 1, state.last_wrong)
        return Arrived(inner, wrong, squared_distance(inner.policy, self.target, self.inner))

    def leap(self, t: int, until: int, game: Any, state: Arrived, generator: Stream) -> tuple[Arrived, int] | None:
        landed = _leap(self, "last_wrong", t, until, game, state, generator)
        if landed is None:
            return None
        inner, reached, saw = landed
        wrong = torch.where(saw.last_wrong >= 0, saw.last_wrong, state.last_wrong)
        return Arrived(inner, wrong, squared_distance(inner.policy, self.target, self.inner)), reached


def squared_distance(policy: Policy, target: Policy, inner: int | None = None) -> Tensor:
    """sum_i ||x_i - x_i*||^2 over players, states and actions, [...]; `inner` as `Settling` has it."""
    inner = inner or target[0].dim()
    apart = [(x - y).square().flatten(-inner).sum(-1) for x, y in zip(policy, target, strict=True)]
    return torch.stack(torch.broadcast_tensors(*apart)).sum(0)


def _elsewhere(policy: Policy, target: Policy, inner: int | None) -> Tensor:
    """Whether any number differs, [...]."""
    inner = inner or target[0].dim()
    differs = [(x != y).flatten(-inner).any(-1) for x, y in zip(policy, target, strict=True)]
    return torch.stack(torch.broadcast_tensors(*differs)).any(0)


def _leap(around: Any, asked: str, t: int, until: int, game: Any, state: Any, generator: Stream) -> Any:
    """The inner solver's leap, where it sees what is asked on its way: (state, iteration reached, what it saw)."""
    if asked not in getattr(around.solver, "watches", ()):
        return None
    return around.solver.leap(t, until, game, state.inner, generator, target=around.target)
