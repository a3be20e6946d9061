"""Long-horizon linear bandits: the reward of a round depends on a few choices made long before.

In round t = 0, 1, ... nature shows K contexts x_{t,k} in R^d, normal of covariance I / d. One is chosen, x_t, and pays

    y_t = sum_{i < h} w_i <x_{t-i}, theta> + noise_t        at most s of the w_i are not zero

Choosing x adds (sum_i w_i) <x, theta> to rewards now and later, so argmax_k (sum_i w_i) <x_{t,k}, theta> is best. A
policy is a direction phi and chooses argmax_k <x_{t,k}, phi>; at an angle alpha to the best it loses in each round

    gap = |sum_i w_i| |theta| E[max of K standard normal numbers] / sqrt(d) (1 - cos alpha)

Qin, Li, Pasqualetti, Fazel and Oymak, "Stochastic contextual bandits with long horizon rewards", AAAI 2023, arXiv
2302.00814; the law of contexts is ours.
"""

import math
from abc import ABC, abstractmethod
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import Policy
from gamesim.games.luck import quick_rounds
from gamesim.randomness import Stream


class LaggedBandit(ABC):
    """A long-horizon linear bandit, or a batch of them."""

    @property
    @abstractmethod
    def weights(self) -> Tensor:
        """w[..., h], from the choice of the round itself on."""

    @property
    @abstractmethod
    def theta(self) -> Tensor:
        """[..., d]."""

    @property
    @abstractmethod
    def contexts(self) -> int:
        """K."""

    @property
    @abstractmethod
    def noise(self) -> float:
        """The standard deviation of the noise."""

    @property
    @abstractmethod
    def rounds(self) -> int:
        """T: how many rounds there are."""

    def start(self) -> Policy:
        """No direction, [..., d]: every context alike."""
        return (torch.zeros_like(self.theta),)

    def require(self, point: Any, field: str = "policy") -> None:
        """Refuse what is not a tuple of one finite direction [..., d]."""
        d = self.theta.shape[-1]
        if not isinstance(point, tuple) or len(point) != 1 or not isinstance(point[0], Tensor):
            raise refuse(field, type(point).__name__, "a tuple of one direction [..., d]")
        if point[0].shape[-1:] != (d,) or not bool(point[0].isfinite().all()):
            raise refuse(field, f"shape {list(point[0].shape)}", f"finite numbers [..., {d}]")

    def feedback(self, policy: Policy) -> Policy:
        """(sum_i w_i) theta: the best direction."""
        return (self.best.expand(policy[0].shape),)

    @property
    def best(self) -> Tensor:
        """What the choice of x adds to rewards is <x, best>, [..., d]."""
        return self.weights.sum(-1, keepdim=True) * self.theta

    def metrics(self, policy: Policy) -> dict[str, Tensor]:
        """What a direction loses in a round, on average."""
        (phi,) = policy
        length = phi.norm(dim=-1) * self.best.norm(dim=-1)
        cosine = torch.where(length > 0, (phi * self.best).sum(-1) / length, 0.0)
        scale = self.best.norm(dim=-1) * mean_maximum(self.contexts) / math.sqrt(phi.shape[-1])
        return {"gap": (scale * (1 - cosine)).clamp(min=0)}

    def shown(self, generator: Stream, first: int, count: int, batch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The contexts[..., t, k, d] of rounds first, ..., first + count - 1, and the noise[..., t]; draw 0 of each."""
        d = self.theta.shape[-1]
        normal = torch.special.ndtri(over_rounds(generator, first, count, batch, self.contexts * d + 1, draw=0))
        shown = normal[..., 1:].unflatten(-1, (self.contexts, d)) / math.sqrt(d)
        return shown, self.noise * normal[..., 0]

    def paid(self, chosen: Tensor, first: int) -> Tensor:
        """y without noise for rounds from `first` on, [..., t], of all choices so far, chosen[..., t', d]."""
        gains = (chosen * self.theta[..., None, :]).sum(-1)
        total = torch.zeros_like(gains[..., first:])
        until = gains.shape[-1]
        for i in self._lags:
            if i < until:
                late = max(first, i)
                total[..., late - first :] += self.weights[..., i : i + 1] * gains[..., late - i : until - i]
        return total

    @property
    def _lags(self) -> list[int]:
        """The lags that matter in any game of the batch."""
        used = (self.weights != 0).flatten(0, -2).any(0) if self.weights.dim() > 1 else self.weights != 0
        found: list[int] = used.nonzero().squeeze(-1).tolist()
        return found


def over_rounds(generator: Stream, first: int, count: int, batch: tuple[int, ...], each: int, draw: int) -> Tensor:
    """Uniform numbers [*seeds, 1, ..., t, each] for a run of that batch: its games share them, its seeds do not."""
    u = quick_rounds(generator, first, count, (*generator.front, each), draw)
    return u.movedim(0, -2).reshape(*generator.alike(batch), count, each)


@cache
def mean_maximum(count: int) -> float:
    """E[max] of so many independent standard normal numbers.

    >>> round(mean_maximum(2) * math.sqrt(math.pi), 9)
    1.0
    """
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    return 12 - float(torch.trapezoid(torch.special.ndtr(x) ** count, x))  # b - integral of the distribution to b
