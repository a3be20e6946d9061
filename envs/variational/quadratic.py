"""Quadratic saddle: strongly convex in x, strongly concave in y, with everything known in closed form.

    f(x, y) = (x - x*)' P (x - x*) / 2 + (x - x*)' A (y - y*) - (y - y*)' Q (y - y*) / 2
    F(z) = M (z - z*),     M = [[P, A], [-A', Q]]

P and Q are symmetric with eigenvalues from mu to condition * mu, A has singular values up to `coupling`. F is strongly
monotone with mu and linear, so chains of constant-step methods have no bias at all: with errors of covariance C that of
gradient descent ascent is stationary with the covariance S that solves

    M S + S M' - step M S M' = step C

A projection that is active breaks this. Vlatakis-Gkaragkounis, Giannou, Chen and Xie, AISTATS 2024, experiment with
condition 1, 5 and 10.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.envs.variational.bilinear import LARGEST, Condition, Scale, random_rotations
from gamesim.errors import refuse
from gamesim.games.domains import FREE, Domain, length
from gamesim.games.variational import Point, VariationalProblem, distance
from gamesim.parameters import Bounds, Count, Device, Natural, check
from gamesim.randomness import Stream

Size = Annotated[float, Bounds("a number of at least 0", 0)]


@final
@dataclass(frozen=True, kw_only=True)
class Quadratic(VariationalProblem):
    """A strongly monotone linear operator, random with a seed."""

    dimension: Count = 2
    """Coordinates of each player."""
    mu: Scale = 1.0
    """Smallest curvature of both players: the constant of strong monotonicity."""
    condition: Condition = 5.0
    """Ratio of the largest curvature to the smallest."""
    coupling: Size = 1.0
    """Largest singular value of A; 0 leaves two separate problems."""
    domain: Domain | tuple[Domain, ...] = FREE
    """Where each player may be: free, box(radius), ball(radius) or simplex."""
    seed: Natural = 0
    """Names the random directions and the solution."""
    device: Device = "cpu"
    """Where tensors live."""

    monotone = True
    slack = 0.0

    def __post_init__(self) -> None:
        check(self)
        self.domains(2)
        if self.dimension > LARGEST:
            raise refuse("dimension", self.dimension, f"at most {LARGEST}")

    @cached_property
    def lipschitz(self) -> float:  # type: ignore[override]
        return float(torch.linalg.matrix_norm(self.matrix, 2))

    @cached_property
    def matrix(self) -> Tensor:
        """M[2d, 2d]."""
        n = self.dimension
        rotations = random_rotations(4, n, self.seed)
        curvatures = torch.logspace(1, 0, n, self.condition, dtype=torch.float64) * self.mu
        P, Q = ((u * curvatures) @ u.mT for u in rotations[:2])
        A = (rotations[2] * torch.linspace(1, 1 / n, n, dtype=torch.float64) * self.coupling) @ rotations[3].mT
        return torch.cat([torch.cat([P, A], -1), torch.cat([-A.mT, Q], -1)]).to(self.device)

    @cached_property
    def centre(self) -> Tensor:
        """z*[2d], the zero of F: each player's part has norm 1/2."""
        draws = Stream(self.seed, iteration=1).normal((2, self.dimension))
        return (draws / length(draws)[:, None] / 2).flatten().to(self.device)

    def start(self) -> Point:
        ones = torch.ones(self.dimension, dtype=torch.float64, device=self.device)
        return self.project((ones, ones))

    def operator(self, point: Point) -> Point:
        away = torch.cat(torch.broadcast_tensors(*point), -1) - self.centre
        x, y = (away @ self.matrix.mT).split(self.dimension, -1)
        return x, y

    def solution(self) -> Point | None:
        """z*, where the domain holds it."""
        x, y = self.centre.chunk(2)
        return (x, y) if float(distance((x, y), self.project((x, y)))) < 1e-12 else None
