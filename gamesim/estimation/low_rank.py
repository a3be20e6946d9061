"""Graphons of low rank while they are being learned.

    W(x, y) = max(0, sum_r u_r(x) u_r(y)),    u_r(x) = sum_{d >= r} c_rd P_d(2 x - 1),    P_d the Legendre polynomials

Rotations of (u_1, ..., u_R) leave W as it is, so u_r is taken without the degrees below r: every c has one rotation
(QR) that makes it such, up to signs. The sum is positive semidefinite.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.estimation.shapes import Shape
from gamesim.graphons import Graphon, Legendre
from gamesim.parameters import Count, Natural, check

NEGATIVE = 1e5
"""Price of the mean square of what is negative of W."""


@dataclass(frozen=True)
class LowRank(Shape, kind="low-rank"):
    """sum_r u_r(x) u_r(y), each u_r a polynomial."""

    rank: Count = 1
    """How many products."""
    degree: Natural = 3
    """Of each polynomial."""

    def __post_init__(self) -> None:
        check(self)
        if self.rank > self.degree + 1:
            raise refuse(
                "graphon.rank", self.rank, f"at most {self.degree + 1}, with polynomials of degree {self.degree}"
            )

    def __str__(self) -> str:
        return f"low-rank({self.rank}, {self.degree})"

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """r and d of each coefficient."""
        return [(r, d) for r in range(self.rank) for d in range(r, self.degree + 1)]

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"u[{r},{d}]" for r, d in self.pairs)

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.pairs)

    @property
    def told_by_degree(self) -> bool:
        return self.rank == 1

    @property
    def centre(self) -> Tensor:
        """A constant graphon."""
        flat = torch.zeros(self.size, dtype=torch.float64)
        flat[0] = 1
        return flat

    @cached_property
    def looked_at(self) -> Tensor:
        """Where the largest value is sought."""
        return torch.linspace(0, 1, 101, dtype=torch.float64)

    def coefficients(self, numbers: Tensor) -> Tensor:
        """c[..., r, d] from numbers[..., p]."""
        r, d = torch.tensor(self.pairs).T
        c = numbers.new_zeros(*numbers.shape[:-1], self.rank, self.degree + 1)
        c[..., r, d] = numbers
        return c

    def natural(self, free: Tensor) -> Tensor:
        u = self.coefficients(free) @ Legendre.basis(self.looked_at, self.degree)
        largest = u.square().sum(-2).amax(-1).clamp(min=1e-12)  # of a semidefinite W, on the diagonal
        return free / largest.sqrt()[..., None]

    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        return self._sum(free, x).clamp(min=0)

    def _sum(self, free: Tensor, x: Tensor) -> Tensor:
        """sum_r u_r(x) u_r(y), [..., n, n], which may be negative."""
        u = self.coefficients(self.natural(free)) @ Legendre.basis(x, self.degree)
        product: Tensor = u.mT @ u
        return product

    def rescaled(self, natural: Tensor, scale: float) -> Tensor:
        return natural * math.sqrt(scale)

    def penalty(self, free: Tensor) -> Tensor:
        """The prior, and what keeps the sum from being negative."""
        w = self._sum(free, self.looked_at[::5])
        return super().penalty(free) + NEGATIVE * (w.clamp(max=0) ** 2).mean((-2, -1))

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        c = self.coefficients(self.natural(free)) * math.sqrt(scale)
        return Legendre(tuple(map(tuple, c.tolist())))
