"""Bilinear saddle: min over x, max over y of x' A y, where gradient steps circle and extra-gradient steps arrive.

    f(x, y) = x' A y          F(x, y) = (A y, -A' x)

F is monotone and nothing more: <F(z), z> = 0. Written for singular values s of A, in a free domain and with a constant
step g, one step multiplies the distance to the solution 0 along s by

    gradient descent ascent   sqrt(1 + g^2 s^2)                 always grows
    extragradient             sqrt(1 - g^2 s^2 + g^4 s^4)       falls while g s < 1

Korpelevich, Matekon 13 (1977); Daskalakis, Ilyas, Syrgkanis and Zeng, ICLR 2018.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.domains import FREE, Domain
from gamesim.games.variational import Point, VariationalProblem
from gamesim.parameters import Bounds, Count, Device, Natural, check
from gamesim.randomness import Stream

Condition = Annotated[float, Bounds("a number of at least 1", 1)]
Scale = Annotated[float, Bounds("a number above 0", 0, low_open=True)]
LARGEST = 4096  # dimensions: the matrix is dense


@final
@dataclass(frozen=True, kw_only=True)
class Bilinear(VariationalProblem):
    """A saddle without any curvature."""

    dimension: Count = 1
    """Coordinates of each player."""
    strength: Scale = 1.0
    """Largest singular value of A."""
    condition: Condition = 1.0
    """Ratio of the largest to the smallest singular value."""
    domain: Domain | tuple[Domain, ...] = FREE
    """Where each player may be: free, box(radius), ball(radius) or simplex."""
    seed: Natural = 0
    """Names the random directions of A; one dimension has none."""
    device: Device = "cpu"
    """Where tensors live."""

    monotone = True
    mu = 0.0
    slack = 0.0

    def __post_init__(self) -> None:
        check(self)
        self.domains(2)
        if self.dimension > LARGEST:
            raise refuse("dimension", self.dimension, f"at most {LARGEST}")

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        return self.strength

    @cached_property
    def matrix(self) -> Tensor:
        """A[d, d] = U diag(s) V', s evenly spaced in logarithms; in one dimension the strength."""
        n = self.dimension
        values = torch.logspace(0, -1, n, self.condition, dtype=torch.float64) * self.strength
        if n == 1:
            return values[:, None].to(self.device)
        left, right = random_rotations(2, n, self.seed)
        return ((left * values) @ right.mT).to(self.device)

    def start(self) -> Point:
        ones = torch.ones(self.dimension, dtype=torch.float64, device=self.device)
        return self.project((ones, ones))

    def operator(self, point: Point) -> Point:
        x, y = point
        return y @ self.matrix.mT, -x @ self.matrix

    def solution(self) -> Point | None:
        """0, where it is inside both sets; at an edge there may be others."""
        zero = torch.zeros(self.dimension, dtype=torch.float64, device=self.device)
        around = torch.stack([zero - 1e-9, zero + 1e-9])
        inside = all(bool((d.distance(around) == 0).all()) for d in self.domains(2))
        return (zero, zero) if inside else None


def random_rotations(count: int, dimension: int, seed: int) -> tuple[Tensor, ...]:
    """So many orthogonal matrices [d, d], uniform on the group."""
    draws = Stream(seed).normal((count, dimension, dimension))
    q, r = torch.linalg.qr(draws)
    return tuple(q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :])
