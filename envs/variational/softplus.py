"""Softplus saddle: smooth, strongly monotone and not quadratic, so that constant steps have a bias to be seen.

    f(x, y) = m x^2 / 2 + log(1 + e^{2x}) + x y - m y^2 / 2 - log(1 + e^{2y})
    F(x, y) = (m x + 2 s(2x) + y,  m y + 2 s(2y) - x),        s(t) = 1 / (1 + e^{-t})

F is strongly monotone with m, and Lipschitz with sqrt((m + 1/2)^2 + 1) + 1/2. Its second derivative does not vanish at
the solution, and so the stationary mean of a chain with step g is off by g Delta + o(g): the example on which
extrapolation over step sizes is judged.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.games.domains import FREE, Domain
from gamesim.games.variational import Point, VariationalProblem, distance
from gamesim.parameters import Bounds, Device, check

Curvature = Annotated[float, Bounds("a number above 0", 0, low_open=True)]


@final
@dataclass(frozen=True, kw_only=True)
class Softplus(VariationalProblem):
    """Two players on a line, each with a kink that is rounded off."""

    curvature: Curvature = 0.5
    """m: weight of the quadratic part."""
    domain: Domain | tuple[Domain, ...] = FREE
    """Where each player may be: free, box(radius) or ball(radius)."""
    device: Device = "cpu"
    """Where tensors live."""

    monotone = True
    slack = 0.0

    def __post_init__(self) -> None:
        check(self)
        self.domains(2)

    @property
    def mu(self) -> float:  # type: ignore[override]
        return self.curvature

    @property
    def lipschitz(self) -> float:  # type: ignore[override]
        return math.hypot(self.curvature + 0.5, 1) + 0.5

    def start(self) -> Point:
        zero = torch.zeros(1, dtype=torch.float64, device=self.device)
        return self.project((zero, zero))

    def operator(self, point: Point) -> Point:
        x, y = point
        m = self.curvature
        return m * x + 2 * torch.sigmoid(2 * x) + y, m * y + 2 * torch.sigmoid(2 * y) - x

    def jacobian(self, point: Point) -> Tensor:
        """F'(x, y)[..., 2, 2]."""
        x, y = torch.broadcast_tensors(*(z.squeeze(-1) for z in point))
        own = [self.curvature + 4 * torch.sigmoid(2 * z) * torch.sigmoid(-2 * z) for z in (x, y)]
        one = torch.ones_like(x)
        return torch.stack([torch.stack([own[0], one], -1), torch.stack([-one, own[1]], -1)], -2)

    @cached_property
    def zero(self) -> Point:
        """Where F vanishes, by Newton's method."""
        point = (torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
        for _ in range(50):
            step = torch.linalg.solve(self.jacobian(point), torch.cat(self.operator(point)))
            point = (point[0] - step[:1], point[1] - step[1:])
        return point[0].to(self.device), point[1].to(self.device)

    def solution(self) -> Point | None:
        """The zero of F, where the domain holds it."""
        return self.zero if float(distance(self.zero, self.project(self.zero))) < 1e-12 else None
