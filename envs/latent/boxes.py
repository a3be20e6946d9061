"""What worlds of boxes and a sign share: one place is right and may hold a prize, and a sign, unread by experts, tells.

Of reading the sign, which points at the right place with probability 1 - delta and else at any, with b = delta / n and
a = 1 - delta + b,

    eta = 1 - [ 2 sqrt(a b) + (n - 2) b ] = (sqrt a - sqrt b)^2
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from gamesim.games.latent import Belief, Chance, LatentWorld, Truth
from gamesim.parameters import Bounds, check

Places = Annotated[int, Bounds("a whole number from 2 to 1,000,000", 2, 10**6)]
EMPTY, PRIZE, SIGN = range(3)


@dataclass(frozen=True, kw_only=True)
class Boxed(LatentWorld):
    """One decision in an episode; the last subgoal is to read the sign."""

    boxes: Places = 8
    """n: as many latents, and one more subgoal."""
    prize: Chance = 0.5
    """p: how often the right place holds the prize."""
    blur: Chance = 0.5
    """delta: how often the sign points anywhere."""
    truth: Truth = "prior"
    """The place that is right, by name or number; prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        self.truth_law  # noqa: B018  refuses a latent that is not there

    @property
    def horizon(self) -> int:
        return 1

    @cached_property
    def prior(self) -> Tensor:
        return torch.full((self.boxes,), 1 / self.boxes, **self.like)

    def open(self, latent: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        zero = torch.zeros_like(latent)
        return zero, zero

    def meet(self, belief: Belief, observation: Tensor) -> Belief:
        return belief

    @cached_property
    def value(self) -> Tensor:
        return torch.full((self.boxes,), self.prize, **self.like)

    @cached_property
    def _sign(self) -> Tensor:
        law = torch.nn.functional.one_hot(torch.tensor(self.boxes), self.boxes + 1).to(**self.like)
        return law.expand(self.actors, -1)

    def explore(self, h: int, observation: Tensor) -> Tensor:
        """Everybody reads the sign."""
        return self._sign

    @property
    def pointing(self) -> tuple[float, float]:
        """How often the sign points at the right place, and at another one."""
        b = self.blur / self.boxes
        return 1 - self.blur + b, b

    def pointed(self, latent: Tensor, u: Tensor) -> Tensor:
        """The place that the sign points at, [...], of uniform numbers u[..., 2]."""
        anywhere = (u[..., 1] * self.boxes).long().clamp(max=self.boxes - 1)
        return torch.where(u[..., 0] < self.blur, anywhere, latent)

    def distinguishability(self) -> float:
        a, b = self.pointing
        return (math.sqrt(a) - math.sqrt(b)) ** 2
