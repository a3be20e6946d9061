"""Rippled saddle: a quadratic saddle with ripples, not monotone, yet weakly quasi-strongly monotone.

    f(x, y) = m |x|^2 / 2 + (a / w) sum_j (1 - cos w x_j) + c <x, y> - m |y|^2 / 2 - (a / w) sum_j (1 - cos w y_j)
    F(x, y) = (m x + a sin(w x) + c y,  m y + a sin(w y) - c x)

It is monotone only if a w <= m. The solution is 0, the coupling drops out of <F(z), z>, and a z_j sin(w z_j) is at
least -a |z_j| >= -(m / 2) z_j^2 - a^2 / (2 m), so that over the 2 d coordinates

    <F(z), z> >= mu |z|^2 - slack        mu = m / 2,    slack = d a^2 / m

F is Lipschitz with sqrt(m^2 + c^2) + a w. Without coupling it has other zeros where a w > 4.61 m.

The condition is that of Vlatakis-Gkaragkounis, Giannou, Chen and Xie, AISTATS 2024; this example of it is ours.
"""

import math
from dataclasses import dataclass
from typing import Annotated, final

import torch

from gamesim.games.domains import FREE, Domain
from gamesim.games.variational import Point, VariationalProblem
from gamesim.parameters import Bounds, Count, Device, check

Above = Annotated[float, Bounds("a number above 0", 0, low_open=True)]
Size = Annotated[float, Bounds("a number of at least 0", 0)]


@final
@dataclass(frozen=True, kw_only=True)
class Rippled(VariationalProblem):
    """A saddle with ripples."""

    dimension: Count = 1
    """d: coordinates of each player."""
    curvature: Above = 1.0
    """m: weight of the quadratic part."""
    ripple: Size = 1.0
    """a: height of the ripples, as a force."""
    frequency: Above = 3.0
    """w: ripples in a length of 2 pi."""
    coupling: Size = 1.0
    """c: weight of <x, y>."""
    domain: Domain | tuple[Domain, ...] = FREE
    """Where each player may be: free, box(radius) or ball(radius)."""
    device: Device = "cpu"
    """Where tensors live."""

    def __post_init__(self) -> None:
        check(self)
        self.domains(2)

    @property
    def monotone(self) -> bool:  # type: ignore[override]
        return self.ripple * self.frequency <= self.curvature

    @property
    def mu(self) -> float:  # type: ignore[override]
        return self.curvature / 2

    @property
    def slack(self) -> float:  # type: ignore[override]
        return self.dimension * self.ripple**2 / self.curvature

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        return math.hypot(self.curvature, self.coupling) + self.ripple * self.frequency

    def start(self) -> Point:
        point = torch.full((self.dimension,), math.pi / 2, dtype=torch.float64, device=self.device)
        return self.project((point, point))

    def operator(self, point: Point) -> Point:
        x, y = point
        m, a, w, c = self.curvature, self.ripple, self.frequency, self.coupling
        return m * x + a * torch.sin(w * x) + c * y, m * y + a * torch.sin(w * y) - c * x

    def solution(self) -> Point | None:
        """0, where both sets hold it."""
        zero = torch.zeros(self.dimension, dtype=torch.float64, device=self.device)
        return (zero, zero) if all(float(d.distance(zero)) == 0 for d in self.domains(2)) else None
