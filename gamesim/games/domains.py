"""Convex sets by their projections: where each player of a variational inequality may be.

    P(y) = argmin_{x in X} |x - y|

is row by row, over the last dimension; what is not a number stays so, and no set makes it look finite.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gamesim import simplex
from gamesim.parameters import Positive, Real, check
from gamesim.simplex import lift


class Domain(ABC):
    """A closed convex set of points x[..., d]; written free, box(1), ball(1) or simplex."""

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls) -> None:
        Domain.kinds[cls.__name__.lower()] = cls

    def __str__(self) -> str:
        return type(self).__name__.lower()

    @abstractmethod
    def project(self, point: Tensor) -> Tensor:
        """The nearest point of the set, [..., d] -> [..., d]."""

    def distance(self, point: Tensor) -> Tensor:
        """How far a point is from the set, [..., d] -> [...]."""
        return length(point - self.project(point))


@dataclass(frozen=True)
class Free(Domain):
    """The whole space.

    >>> Free().project(torch.tensor([3.0, -4.0]))
    tensor([ 3., -4.])
    """

    __str__ = Domain.__str__

    def project(self, point: Tensor) -> Tensor:
        return point


FREE = Free()


@dataclass(frozen=True)
class Box(Domain):
    """|x_j - centre| <= radius for every coordinate; box(0.5, 0.5) is [0, 1].

    >>> Box(1.0).project(torch.tensor([3.0, -0.5]))
    tensor([ 1.0000, -0.5000])
    """

    radius: Positive = 1.0
    """Half the length of an edge."""
    centre: Real = 0.0
    """The middle of every edge."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        off = isinstance(self.centre, Tensor) or self.centre != 0
        return f"box({self.radius}, {self.centre})" if off else f"box({self.radius})"

    def project(self, point: Tensor) -> Tensor:
        radius, centre = lift(self.radius, 1), lift(self.centre, 1)
        low, high = (torch.as_tensor(end).to(point) for end in (centre - radius, centre + radius))
        return torch.minimum(torch.maximum(point, low), high)


@dataclass(frozen=True)
class Ball(Domain):
    """|x| <= radius in the Euclidean norm.

    >>> Ball(1.0).project(torch.tensor([3.0, -4.0]))
    tensor([ 0.6000, -0.8000])
    """

    radius: Positive = 1.0
    """Largest norm of a point."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"ball({self.radius})"

    def project(self, point: Tensor) -> Tensor:
        ratio = length(point)[..., None] / lift(self.radius, 1)
        return point / ratio.clamp(min=1)


@dataclass(frozen=True)
class Simplex(Domain):
    """x >= 0 that sums to one: probability vectors.

    >>> Simplex().project(torch.tensor([0.9, 0.3, -1.0]))
    tensor([0.8000, 0.2000, 0.0000])
    """

    __str__ = Domain.__str__

    def project(self, point: Tensor) -> Tensor:
        known = point.isfinite().all(-1, keepdim=True)
        return torch.where(known, simplex.project(torch.where(known, point, 0.0)), torch.nan)


def length(point: Tensor) -> Tensor:
    """The Euclidean norm, [..., d] -> [...]."""
    found: Tensor = torch.linalg.vector_norm(point, dim=-1)
    return found
