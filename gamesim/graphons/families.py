"""The graphons of the papers, one class each, with their parameters (sources: `gamesim.graphons`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.graphons.graphon import Graphon, require_graphon
from gamesim.parameters import Fraction, NonNegative, Positive, Probability, Real, check


def _lift(parameter: float | Tensor) -> float | Tensor:
    """A batched parameter [...] against W[..., k, j]."""
    return parameter[..., None, None] if isinstance(parameter, Tensor) else parameter


def _lift_column(parameter: float | Tensor) -> float | Tensor:
    return parameter[..., None] if isinstance(parameter, Tensor) else parameter


@dataclass(frozen=True)
class UniformAttachment(Graphon, kind="uniform-attachment"):
    """W = 1 - max(x, y)."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - torch.maximum(x, y)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(x), 1 - x


@dataclass(frozen=True)
class RankedAttachment(Graphon, kind="ranked-attachment"):
    """W = 1 - x y."""

    smooth: ClassVar[bool] = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return 1 - x * y

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(x)
        return torch.stack([one, x], -1), torch.stack([one, -x], -2)


@dataclass(frozen=True)
class ErdosRenyi(Graphon, kind="erdos-renyi"):
    """W = p."""

    p: Probability = 0.5
    """Probability of an edge."""

    def __post_init__(self) -> None:
        check(self)

    scaled_by: ClassVar[tuple[str, ...]] = ("p",)
    smooth: ClassVar[bool] = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return _lift(self.p) + torch.zeros_like(x + y)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(x)[:, None], _lift(self.p) + torch.zeros_like(x)[None]

    def blocks(self) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(self.p, dtype=torch.float64)[..., None, None], torch.zeros(0, dtype=torch.float64)


@dataclass(frozen=True)
class PowerLaw(Graphon, kind="power-law"):
    """W = (1 - a)^2 (x y)^(-a), an L^p graphon: unbounded at 0, total mass 1."""

    a: Fraction = 0.5
    """Exponent: larger means a few positions hold more of the edges."""

    def __post_init__(self) -> None:
        check(self)

    exceeds_one: ClassVar[bool] = True
    smooth: ClassVar[bool] = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        a = _lift(self.a)
        return (1 - a) ** 2 * (x * y) ** (-a)

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = _lift_column(self.a)
        column = (1 - a) * x ** (-a)
        return column[..., None], column[..., None, :]


@dataclass(frozen=True)
class CutoffPowerLaw(Graphon, kind="cutoff-power-law"):
    """W = ((1 - a) / (1 - a c^(1 - a)))^2 (max(x, c) max(y, c))^(-a): the power law, flat below c, total mass 1."""

    a: Fraction = 0.5
    """Exponent."""
    c: Fraction = 0.1
    """Cut-off: the graphon is constant below it."""

    def __post_init__(self) -> None:
        check(self)

    exceeds_one: ClassVar[bool] = True
    smooth: ClassVar[bool] = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        left, right = self._column(x, _lift), self._column(y, _lift)
        return left * right

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        column = self._column(x, _lift_column)
        return column[..., None], column[..., None, :]

    def _column(self, x: Tensor, lift: Callable[[float | Tensor], float | Tensor]) -> Tensor:
        a, c = lift(self.a), lift(self.c)
        floor = torch.maximum(x, torch.as_tensor(c, dtype=x.dtype, device=x.device))
        return (1 - a) / (1 - a * c ** (1 - a)) * floor ** (-a)


@dataclass(frozen=True)
class StochasticBlock(Graphon, kind="stochastic-block"):
    """W = a within a block, b across, two blocks split at `cut`."""

    a: Probability = 0.9
    """Probability of an edge within a block."""
    b: Probability = 0.3
    """Probability of an edge across the blocks."""
    cut: Fraction = 0.7
    """Where the second block begins."""

    def __post_init__(self) -> None:
        check(self)

    scaled_by: ClassVar[tuple[str, ...]] = ("a", "b")
    jumps: ClassVar[tuple[str, ...]] = ("cut",)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        cut = _lift(self.cut)
        same = (x < cut) == (y < cut)
        return torch.where(
            same, torch.as_tensor(_lift(self.a), dtype=x.dtype), torch.as_tensor(_lift(self.b), dtype=x.dtype)
        )

    def blocks(self) -> tuple[Tensor, Tensor]:
        if isinstance(self.cut, Tensor) and self.cut.dim() > 0:
            raise refuse(
                "graphon.cut", self.cut, "one number where blocks are used; pass operator=dense for a batch of cuts"
            )
        a, b = (torch.as_tensor(v, dtype=torch.float64) for v in (self.a, self.b))
        a, b = torch.broadcast_tensors(a, b)
        values = torch.stack([torch.stack([a, b], -1), torch.stack([b, a], -1)], -2)
        return values, torch.tensor([float(self.cut)], dtype=torch.float64)


@dataclass(frozen=True)
class BlockGraphon(Graphon, kind="step"):
    """W constant on blocks: values[i][j] between block i and block j, blocks split at `cuts`."""

    values: tuple[tuple[NonNegative, ...], ...]
    """A symmetric K x K list of probabilities, such as [[0.6, 0.3], [0.3, 0.6]]."""
    cuts: tuple[Fraction, ...] = ()
    """K - 1 increasing numbers where a new block begins; left out, the blocks are equally wide."""

    def __post_init__(self) -> None:
        check(self)
        blocks = len(self.values)
        if not blocks or any(len(row) != blocks for row in self.values):
            raise refuse("graphon.values", [list(row) for row in self.values], "a square list of lists")
        require_graphon(torch.tensor(self.values, dtype=torch.float64), "graphon.values")
        if not self.cuts:
            object.__setattr__(self, "cuts", tuple(i / blocks for i in range(1, blocks)))
        if len(self.cuts) != blocks - 1 or list(self.cuts) != sorted(set(self.cuts)):
            raise refuse("graphon.cuts", list(self.cuts), f"{blocks - 1} increasing numbers for {blocks} blocks")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        values, cuts = (part.to(x) for part in self.blocks())
        return values[torch.searchsorted(cuts, x, right=True), torch.searchsorted(cuts, y, right=True)]

    def blocks(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.values, dtype=torch.float64), torch.tensor(self.cuts, dtype=torch.float64)


@dataclass(frozen=True)
class Exponential(Graphon, kind="exp"):
    """W = 2 e^(theta x y) / (1 + e^(theta x y)) - 1 = tanh(theta x y / 2)."""

    theta: Positive = 3.0
    """Strength of the interaction."""

    def __post_init__(self) -> None:
        check(self)

    smooth: ClassVar[bool] = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(_lift(self.theta) * x * y / 2)


@dataclass(frozen=True)
class Legendre(Graphon, kind="legendre"):
    """W = sum_r u_r(x) u_r(y) with polynomials u_r, kept between 0 and 1: what a low-rank estimate is."""

    coefficients: tuple[tuple[Real, ...], ...]
    """Of each u_r in the Legendre polynomials on [0, 1], as [[1, 0.5], [0, 0.2]]."""

    def __post_init__(self) -> None:
        check(self)
        if not self.coefficients or len({len(row) for row in self.coefficients}) != 1 or not self.coefficients[0]:
            raise refuse("graphon.coefficients", [list(r) for r in self.coefficients], "rows of the same length")

    @staticmethod
    def basis(x: Tensor, degree: int) -> Tensor:
        """The Legendre polynomials P_d(2 x - 1), [d, k]."""
        y = 2 * x - 1
        rows = [torch.ones_like(y), y][: degree + 1]
        for d in range(1, degree):
            rows.append(((2 * d + 1) * y * rows[d] - d * rows[d - 1]) / (d + 1))
        return torch.stack(rows)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        c = torch.tensor(self.coefficients, dtype=x.dtype, device=x.device)
        u, v = (torch.einsum("rd,d...->r...", c, self.basis(at, c.shape[1] - 1)) for at in (x, y))
        return (u * v).sum(0).clamp(0, 1)
