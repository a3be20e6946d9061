"""How agents of a world move when nothing is in the way, measured in the world itself, and steering by it.

Free motion is linear in the velocity v and the chosen force u of an agent: k steps after a force that is not repeated

    x_k = x_0 + a_k v_0 + b_k u,        k = 1, ..., horizon.

a and b are measured by playing two little episodes, so that no constant of a world is repeated here.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gamesim.games.worlds import FORCES, SetWorld
from gamesim.randomness import Stream

APART = 8.0
"""Where the others are put, far from who is measured and from one another."""
SLOW = 0.1
"""A velocity below every limit."""


@dataclass(frozen=True)
class Motion:
    """The numbers a_k and b_k of each agent, [horizon, n]."""

    coast: Tensor
    push: Tensor
    discrete: bool

    @classmethod
    def of(cls, world: SetWorld, horizon: int) -> "Motion":
        """Measured in the world: one episode for each agent, which stands at 0 and moves to the right."""
        n = world.acting
        tokens = world.tokens(world.begin((n,), Stream(0))).clone()
        tokens[..., :4] = 0.0
        tokens[..., 0] = APART * torch.arange(1, tokens.shape[-2] + 1, **world.like)
        own = torch.arange(n, device=tokens.device)
        tokens[own, own, 0] = 0.0
        moving = tokens.clone()
        moving[own, own, 2] = SLOW
        still = torch.zeros(n, n, dtype=torch.int64, device=tokens.device)
        right = still.clone()
        right[own, own] = FORCES.index((1.0, 0.0))

        def path(begin: Tensor, first: Tensor) -> Tensor:
            state, found = world.restored(begin), []
            for k in range(horizon):
                state, _ = world.step(state, world.played(first if k == 0 else still))
                found.append(world.tokens(state)[own, own, 0])
            return torch.stack(found)

        return cls(path(moving, still) / SLOW, path(tokens, right), world.actions == "discrete")

    @cached_property
    def moves(self) -> Tensor:
        return torch.tensor(FORCES, dtype=self.push.dtype, device=self.push.device)

    def towards(self, goal: Tensor, position: Tensor, velocity: Tensor) -> Tensor:
        """The move [..., n] or force [..., n, 2] that leaves each agent nearest to its goal [..., n, 2].

        Near means the sum of squares of the distances after 1, ..., horizon steps without another force, so that an
        agent brakes in time. It is quadratic in the force, |u - u*|^2 up to a constant, and

            u* = sum_k b_k (goal - x_0 - a_k v_0) / sum_k b_k^2.
        """
        a, b = self.coast[..., None], self.push[..., None]
        size = b.square().sum(0)
        reach = torch.where(size > 0, size, 1.0)  # an agent that cannot move has none
        best = (b.sum(0) * (goal - position) - (a * b).sum(0) * velocity) / reach
        if not self.discrete:
            return best.clamp(-1, 1)
        return (self.moves.square().sum(-1) - 2 * best @ self.moves.mT).argmin(-1)


def parts(world: SetWorld, state: Any) -> tuple[Tensor, Tensor]:
    """Positions and velocities of all entities, [..., e, 2] each."""
    tokens = world.tokens(state)
    return tokens[..., :2], tokens[..., 2:4]
