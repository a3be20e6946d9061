"""What fitted action values may depend on: a cell for each pair, or features of the position, state and action.

Linear values are f(x, s, a) = <w, phi(x, s, a)>. The default features are one-hot(s, a) times the Legendre polynomials
of the position,

    phi_{s'a'd}(x, s, a) = [s = s'] [a = a'] sqrt(2d + 1) P_d(2x - 1),    d = 0..degree,

orthonormal for uniform positions, so that all positions share what each of them has seen.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, einsum

from gamesim.errors import InvalidInput, refuse
from gamesim.parameters import Bounds, check

Degree = Annotated[int, Bounds("a whole number from 0 to 100", 0, 100)]


class Features:
    """The kinds below are all there is; a function of (x, s, a) stands for `Given`."""

    kinds: ClassVar[dict[str, type]] = {}

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Features | None":
        """A function features(x, s, a) is taken as it is."""
        return Given(value) if callable(value) and not isinstance(value, type) else None

    def __str__(self) -> str:
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Tabular(Features):
    """A number for each sampled position, state and action: least squares on indicators are empirical means."""


class Linear(Features, ABC):
    """Values <w, phi>, shared by all positions."""

    @abstractmethod
    def rows(self, x: Tensor, states: int, actions: int) -> Tensor:
        """phi[..., g, r, f] at x[..., n]: groups g of rows r that share coefficients, n, s and a in them somewhere."""

    @abstractmethod
    def fold(self, table: Tensor) -> Tensor:
        """A table[..., n, s, a] in the order of the rows, [..., g, r]."""

    @abstractmethod
    def unfold(self, rows: Tensor, states: int, actions: int) -> Tensor:
        """Back again: [..., g, r] -> [..., n, s, a]."""


@dataclass(frozen=True)
class Legendre(Linear):
    """One-hot(s, a) times Legendre polynomials of the position."""

    degree: Degree = 2
    """Highest degree; degree + 1 numbers for each state and action."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"legendre({self.degree})"

    def rows(self, x: Tensor, states: int, actions: int) -> Tensor:
        d = torch.arange(self.degree + 1, dtype=torch.float64, device=x.device)
        polynomials: Tensor = torch.special.legendre_polynomial_p((2 * x.double() - 1)[..., None], d)
        return (polynomials * (2 * d + 1).sqrt()).unsqueeze(-3)

    def fold(self, table: Tensor) -> Tensor:
        return table.flatten(-2).transpose(-2, -1)

    def unfold(self, rows: Tensor, states: int, actions: int) -> Tensor:
        table = rows.transpose(-2, -1)
        return table.reshape(*table.shape[:-1], states, actions)


@dataclass(frozen=True)
class Given(Linear):
    """A user's own features(x, s, a): tensors [..., n, 1, 1], [s, 1] and [a] in, [..., n, s, a, f] out."""

    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    """phi; sizes of 1 may be left for broadcasting."""

    def __str__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def rows(self, x: Tensor, states: int, actions: int) -> Tensor:
        s, a = torch.arange(states, device=x.device)[:, None], torch.arange(actions, device=x.device)
        phi = self.function(x[..., None, None], s, a)
        wanted = f"a tensor [..., n, s, a, f] = {[*x.shape, states, actions, 'f']}"
        if not isinstance(phi, Tensor):
            raise refuse(f"features {self}", type(phi).__name__, wanted)
        try:
            phi = phi.expand(*x.shape, states, actions, phi.shape[-1]).double()
        except (RuntimeError, IndexError):
            raise refuse(f"features {self}", f"shape {list(phi.shape)}", wanted) from None
        if not bool(phi.isfinite().all()):
            raise InvalidInput(f"features {self}: not finite at some (x, s, a), expected finite features")
        return phi.flatten(-4, -2).unsqueeze(-3)

    def fold(self, table: Tensor) -> Tensor:
        return table.flatten(-3).unsqueeze(-2)

    def unfold(self, rows: Tensor, states: int, actions: int) -> Tensor:
        return rows.reshape(*rows.shape[:-2], -1, states, actions)


Features.kinds.update(tabular=Tabular, legendre=Legendre)


def ridge_regression(phi: Tensor, weight: Tensor, target: Tensor, ridge: float) -> Tensor:
    """w[..., g, f] = argmin_w sum_r weight_r (<w, phi_r> - target_r)^2 + ridge |w|^2, for phi[..., g, r, f] in float64.

    >>> one, w = torch.ones(1, 3, 1).double(), torch.tensor([[1.0, 1.0, 2.0]]).double()
    >>> ridge_regression(one, w, torch.tensor([[4.0, 0.0, 2.0]]).double(), ridge=1e-9).round(decimals=6)
    tensor([[2.]], dtype=torch.float64)
    """
    weighted = phi * weight[..., None]
    gram = einsum("...rf,...rk->...fk", weighted, phi) + ridge * torch.eye(phi.shape[-1]).to(phi)
    solved: Tensor = torch.linalg.solve(gram, einsum("...rf,...r->...f", weighted, target))
    return solved
