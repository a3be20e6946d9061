"""The mean of a solver's iterates as its policy: what the theorems for averages speak of."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.games.game import Policy
from gamesim.randomness import Stream
from gamesim.wrapping import Around


@dataclass(frozen=True)
class Averaged(Around):
    """Any solver, with the mean of its iterates as the policy: what the theorems for averages speak of.

    mean_t = mean_{t-1} + (x_t - mean_{t-1}) / (t + 1), over the iterates 0..t, for the policy and for a flow.
    """

    solver: Any

    def init(self, game: Any) -> "Mean":
        state = self.solver.init(game)
        return Mean(state, state.policy, _flows(state))

    def step(self, t: int, game: Any, state: "Mean", generator: Stream) -> "Mean":
        inner = self.solver.step(t, game, state.inner, generator)

        def mean(old: Policy, new: Policy) -> Policy:
            return tuple(torch.lerp(x, y, 1 / (t + 2)) for x, y in zip(old, new, strict=True))

        return Mean(inner, mean(state.policy, inner.policy), mean(state.flow, _flows(inner)))


@dataclass(frozen=True)
class Mean:
    """The state of `Averaged`: the last iterate inside, the means beside it."""

    inner: Any
    policy: Policy
    flow: tuple[Tensor, ...]


def _flows(state: Any) -> tuple[Tensor, ...]:
    return (state.flow,) if isinstance(getattr(state, "flow", None), Tensor) else ()
