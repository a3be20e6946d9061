"""Grids of the unit interval: positions, quadrature weights, and carrying values from one grid to another."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.errors import refuse

Rule = Literal["midpoint", "endpoint", "gauss-legendre", "block"]


@dataclass(frozen=True)
class Grid:
    """Positions x[k] in [0, 1], increasing, and quadrature weights[k] that sum to one."""

    positions: Tensor
    weights: Tensor
    rule: str

    def __len__(self) -> int:
        return len(self.positions)


def quadrature(rule: Rule, positions: int, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Grid:
    """A grid of the unit interval.

    midpoint: error O(1/k^2). endpoint: k equally spaced points from 0 to 1 with equal weights 1/k, as in Cui and
    Koeppl's code, error O(1/k): for replication. gauss-legendre: spectral for smooth W.

    >>> quadrature("midpoint", 2).positions
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    like: dict[str, Any] = {"dtype": dtype, "device": device}
    even = torch.full((positions,), 1 / positions, **like)
    if rule == "midpoint":
        return Grid((torch.arange(positions, **like) + 0.5) / positions, even, rule)
    if rule == "endpoint":
        if positions < 2:
            raise refuse("positions", positions, "at least 2 with quadrature=endpoint")
        return Grid(torch.linspace(0, 1, positions, **like), even, rule)
    if rule == "gauss-legendre":
        if positions > 10_000:
            raise refuse("positions", positions, "at most 10000 with quadrature=gauss-legendre; use midpoint beyond")
        from scipy.special import roots_legendre

        nodes, weights = roots_legendre(positions)
        return Grid(torch.tensor((nodes + 1) / 2, **like), torch.tensor(weights / 2, **like), rule)
    raise refuse("quadrature", rule, "midpoint, endpoint or gauss-legendre here; block needs a step graphon")


def interpolate(values: Tensor, grid: Grid, positions: Tensor, how: Literal["nearest", "linear"] = "nearest") -> Tensor:
    """Values[..., k, c] on a grid carried to other positions[j]: [..., j, c]; linear keeps rows that sum to one so."""
    x = grid.positions
    if len(x) == 1:
        return values.expand(*values.shape[:-2], len(positions), values.shape[-1])
    if grid.rule == "block" and how == "nearest":  # the block that a position lies in, however wide
        block = torch.searchsorted(grid.weights.cumsum(0)[:-1], positions.contiguous(), right=True)
        return values.index_select(-2, block)
    right = torch.searchsorted(x, positions.contiguous()).clamp(1, len(x) - 1)
    share = ((positions - x[right - 1]) / (x[right] - x[right - 1])).clamp(0, 1)
    if how == "nearest":
        share = (share > 0.5).to(x)
    return torch.lerp(values.index_select(-2, right - 1), values.index_select(-2, right), share[:, None])
