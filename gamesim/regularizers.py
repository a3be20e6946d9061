"""Regularisers of the simplex and their mirror maps: how scores become a policy.

A strictly convex, decomposable h(x) = sum_a theta(x_a) gives the mirror map

    Q(y) = argmax_x { <y, x> - h(x) }      theta'(x_a) = y_a - lam on the support,  lam such that sum_a x_a = 1

    entropic      theta = z log z               softmax(y)                             steep
    euclidean     theta = z^2 / 2               the nearest point of the simplex       not steep: reaches the boundary
    tsallis(q)    theta = -z^q / (q (1 - q))    x_a = [(1 - q)(lam - y_a)]^(-1/(1-q))  steep
    log-barrier   theta = -log z                x_a = 1 / (lam - y_a), tsallis at q=0  steep

Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "Survival of the strictest", COLT 2021 (arXiv 2101.04667), and "On the
rate of convergence of regularized learning in games", NeurIPS 2021: near a strict equilibrium the rate is a matter of
the regulariser, with S the sum of the step sizes: geometric exp(-c S), finitely many steps, S^(-1/(1-q)), 1/S.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from gamesim import simplex
from gamesim.parameters import Bounds, check

Exponent = Annotated[float, Bounds("a number from 0.01 to 0.99", 0.01, 0.99)]
NEWTON = 100
"""Newton steps at most: from the left of a convex, decreasing function none overshoots, and 17 do for 1,000 actions."""


class Regularizer(ABC):
    """h on the simplex, by its mirror map; every map takes [..., a]."""

    kinds: ClassVar[dict[str, type]] = {}
    steep: ClassVar[bool] = True
    """Whether the slope of theta is infinite at 0, so that the boundary is never reached."""

    def __str__(self) -> str:
        return next(name for name, kind in self.kinds.items() if type(self) is kind)

    @abstractmethod
    def choose(self, scores: Tensor) -> Tensor:
        """Q(y): scores[..., a] -> policy[..., a]."""

    @abstractmethod
    def scores(self, policy: Tensor) -> Tensor:
        """theta'(x), scores whose choice is the policy."""

    @abstractmethod
    def value(self, policy: Tensor) -> Tensor:
        """h(x), [..., a] -> [...]."""

    @abstractmethod
    def curvature(self, probability: float) -> float:
        """theta''(p): how much a change of scores it takes to move a probability."""


@dataclass(frozen=True)
class Entropic(Regularizer):
    """Negative entropy; its choice is the softmax."""

    def choose(self, scores: Tensor) -> Tensor:
        return simplex.softmax(scores)

    def scores(self, policy: Tensor) -> Tensor:
        return policy.log()

    def value(self, policy: Tensor) -> Tensor:
        return -simplex.entropy(policy)

    def curvature(self, probability: float) -> float:
        return 1 / probability


@dataclass(frozen=True)
class Euclidean(Regularizer):
    """Half the squared length; its choice is the nearest policy, zeros included."""

    steep: ClassVar[bool] = False

    def choose(self, scores: Tensor) -> Tensor:
        return simplex.project(scores)

    def scores(self, policy: Tensor) -> Tensor:
        return policy

    def value(self, policy: Tensor) -> Tensor:
        return simplex.total(policy * policy) / 2

    def curvature(self, probability: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Tsallis(Regularizer):
    """Fractional power z^q."""

    q: Exponent = 0.5
    """Towards 1 it becomes the entropic one, towards 0 the logarithmic barrier."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"tsallis({self.q:g})"

    def choose(self, scores: Tensor) -> Tensor:
        return power_choice(scores, self.q)

    def scores(self, policy: Tensor) -> Tensor:
        return -(policy ** (self.q - 1)) / (1 - self.q)

    def value(self, policy: Tensor) -> Tensor:
        return -simplex.total(policy**self.q) / (self.q * (1 - self.q))

    def curvature(self, probability: float) -> float:
        return float(probability ** (self.q - 2))


@dataclass(frozen=True)
class LogBarrier(Regularizer):
    """Burg's entropy, minus the sum of logarithms."""

    def choose(self, scores: Tensor) -> Tensor:
        return power_choice(scores, 0.0)

    def scores(self, policy: Tensor) -> Tensor:
        return -1 / policy

    def value(self, policy: Tensor) -> Tensor:
        return -simplex.total(policy.log())

    def curvature(self, probability: float) -> float:
        return probability**-2


Regularizer.kinds.update({"entropic": Entropic, "euclidean": Euclidean, "tsallis": Tsallis, "log-barrier": LogBarrier})
ENTROPIC = Entropic()


def centred(scores: Tensor) -> Tensor:
    """Scores with their maximum at 0: only differences matter, and small numbers keep their digits."""
    return scores - scores.amax(-1, keepdim=True)


def power_choice(scores: Tensor, q: float) -> Tensor:
    """x_a = [(1 - q)(lam - y_a)]^(-1/(1-q)) with the lam that makes it sum to one, by Newton's method.

    f(lam) = sum_a x_a - 1 is convex and decreasing, with derivative -sum_a x_a^(2-q); where the largest x_a is 1, at
    lam = max y + 1 / (1 - q), it is not negative, and from there Newton's steps never overshoot.

    >>> power_choice(torch.tensor([0.0, 0.0, -1e300]).double(), 0.0).round(decimals=6)
    tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """
    y, close = centred(scores), 4 * torch.finfo(scores.dtype).eps
    lam = torch.full_like(y[..., :1], 1 / (1 - q))
    for _ in range(NEWTON):
        x, slope = _power(y, lam, q)
        move = (simplex.total(x)[..., None] - 1) / simplex.total(slope)[..., None]
        far = move > close * lam
        lam = torch.where(far, lam + move, lam)  # row by row: a row has the same bits whatever stands beside it
        if not bool(far.any()):
            break
    x, _ = _power(y, lam, q)
    return x / simplex.total(x)[..., None]


def _power(y: Tensor, lam: Tensor, q: float) -> tuple[Tensor, Tensor]:
    """x_a and x_a^(2-q), without torch's pow: its rounding depends on where in memory a number stands."""
    gap = (1 - q) * (lam - y)
    if q == 0:
        x = 1 / gap
        return x, x * x
    if q == 0.5:
        root = 1 / gap
        x = root * root
        return x, x * root
    x = torch.exp(torch.log(gap) * (-1 / (1 - q)))
    return x, x / gap
