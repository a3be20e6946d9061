"""A graphon W(x, y): what a kind must say, and how it becomes an operator on a grid."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.graphons.grids import Grid, Rule, quadrature
from gamesim.graphons.operators import Dense, Form, LowRank, Operator, PrefixSum, Step

DENSE_UP_TO = 64  # positions: one small matrix product costs less than the several calls of a structured operator
DENSE_LIMIT = 20_000  # positions: a dense operator beyond this is refused (3.2 GB)


class Graphon(ABC):
    """A symmetric W(x, y) >= 0. A kind gives `__call__`, and `factors`, `blocks` or `halves` where it has structure."""

    kinds: ClassVar[dict[str, type]] = {}
    exceeds_one: ClassVar[bool] = False
    """True for L^p graphons, whose values pass 1: dynamics that need a probability then want normalize or clip."""
    scaled_by: ClassVar[tuple[str, ...]] = ()
    """Parameters that together only scale W: no data on play can tell them from the strength of the response."""
    jumps: ClassVar[tuple[str, ...]] = ()
    """Parameters in which W has no slope."""

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind:
            Graphon.kinds[kind] = cls
            cls.kind = kind

    kind: ClassVar[str] = "custom"

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Graphon | None":
        """A function W(x, y), or a symmetric matrix of block values, is a graphon."""
        if isinstance(value, Tensor):
            matrix: Graphon = cls.kinds["step"](tuple(map(tuple, value.tolist())) if value.dim() == 2 else ())
            return matrix
        return FunctionGraphon(value) if callable(value) and not isinstance(value, type) else None

    def __str__(self) -> str:
        """As the command line writes it.

        >>> from gamesim.graphons import PowerLaw, UniformAttachment
        >>> str(PowerLaw(a=0.3)), str(UniformAttachment())
        ('power-law(0.3)', 'uniform-attachment')
        """
        given: list[Any] = list(vars(self).values()) if dataclasses.is_dataclass(self) else []
        if not given or not all(isinstance(x, float) for x in given):
            return self.kind
        return f"{self.kind}({', '.join(f'{x:g}' for x in given)})"

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """W(x, y), broadcasting; batched parameters [...] give [..., *broadcast of x[k,1] and y[j]]."""

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """u[..., k, r] and v[..., r, k] with W(x_k, x_j) = sum_r u_kr v_rj, where W has low rank."""
        return None

    def blocks(self) -> tuple[Tensor, Tensor] | None:
        """values[..., K, K] and the inner cuts[K - 1], where W is constant on blocks (float64, CPU)."""
        return None

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """rising[..., k] and falling[..., k] with W(x, y) = rising(min(x, y)) falling(max(x, y))."""
        return None

    def grid(self, rule: Rule, positions: int | None, *, dtype: torch.dtype, device: str) -> Grid:
        """The quadrature of this graphon; `block` is exact: one position per block, weighted by its width."""
        if rule != "block":
            grid = quadrature(rule, positions or 101, dtype=dtype, device=device)
            if rule == "endpoint" and not bool(torch.isfinite(self(grid.positions[:1], grid.positions)).all()):
                raise refuse("quadrature", rule, f"midpoint or gauss-legendre: {self} is infinite at position 0")
            return grid
        found = self.blocks()
        if found is None:
            raise refuse(
                "quadrature", rule, f"a step graphon (stochastic-block, step, erdos-renyi, graph); {self} is not"
            )
        edges = torch.cat([torch.zeros(1), found[1], torch.ones(1)]).to(device=device, dtype=dtype)
        if positions not in (None, len(edges) - 1):
            raise refuse(
                "positions", positions, f"{len(edges) - 1} with quadrature=block: one per block, or leave it out"
            )
        return Grid((edges[1:] + edges[:-1]) / 2, edges.diff(), rule)

    def operator(self, grid: Grid, form: Form = "auto") -> Operator:
        """This graphon on a grid, in the asked form or in the cheapest one."""
        x, w = grid.positions, grid.weights
        if form == "auto":
            structured = self.halves(x) is not None or self.blocks() is not None or self.smooth
            form = self._cheapest(x) if len(grid) > DENSE_UP_TO and structured else "dense"
            if form == "low-rank" and self.factors(x) is None and len(grid) <= DENSE_LIMIT:
                try:
                    left, right = separate(self, x)
                    return LowRank(left, right * w)
                except InvalidInput:  # analytic, and yet too steep for the nodes of `separate`
                    form = "dense"
        if form == "prefix-sum" and (found := self.halves(x)) is not None:
            return PrefixSum(*found, w)
        if form == "step" and (found := self.blocks()) is not None:
            cuts = found[1].to(x)
            return Step(found[0].to(x), torch.searchsorted(cuts, x, right=True), w)
        if form == "low-rank" and (self.factors(x) is not None or self.blocks() is None):  # samples can miss a block
            left, right = self.factors(x) or separate(self, x)
            return LowRank(left, right * w)
        if form == "dense":
            if len(grid) > DENSE_LIMIT:
                gigabytes = 8e-9 * len(grid) ** 2
                raise refuse(
                    "operator",
                    "dense",
                    f"another form, or fewer than {DENSE_LIMIT} positions: {len(grid)} need {gigabytes:.0f} GB",
                )
            return Dense(self(x[:, None], x) * w)
        raise refuse("operator", form, f"a form that {self} has: {', '.join(self.forms(x))}")

    smooth: ClassVar[bool] = False
    """True where W is analytic, so that a numerical low-rank form is exact to rounding."""

    def forms(self, x: Tensor) -> list[str]:
        """The operator forms this graphon can take."""
        has = {
            "prefix-sum": self.halves(x) is not None,
            "step": self.blocks() is not None,
            "low-rank": self.smooth or self.factors(x) is not None,
            "dense": True,
        }
        return [name for name, there in has.items() if there]

    def _cheapest(self, x: Tensor) -> Form:
        return self.forms(x)[0]  # type: ignore[return-value]


def separate(graphon: Graphon, x: Tensor, *, nodes: int = 80, tolerance: float = 1e-14) -> tuple[Tensor, Tensor]:
    """A numerical low-rank form of a smooth graphon: u[k, r], v[r, k] with W = u v to rounding.

    Nystrom's method on Gauss-Legendre nodes: eigenpairs of D^(1/2) W D^(1/2) above tolerance times the largest are
    extended to x by W itself. Refused where W is not smooth enough for that (checked on pairs of the given points).
    """
    like: dict[str, Any] = {"dtype": x.dtype, "device": str(x.device)}
    grid = quadrature("gauss-legendre", nodes, **like)
    y, root = grid.positions, grid.weights.sqrt()
    value, vector = torch.linalg.eigh(root[:, None] * graphon(y[:, None], y) * root)
    kept = value.abs() > tolerance * value.abs().max()
    left = graphon(x[:, None], y) @ (root[:, None] * vector[:, kept])  # lam phi(x)
    right = (left / value[kept]).mT
    some = torch.linspace(0, len(x) - 1, min(len(x), 1000), device=x.device).long()
    error = (left[some] @ right[:, some] - graphon(x[some, None], x[some])).abs().max()
    if float(error) > 1e-12 * max(1.0, float(value.abs().max())):
        raise refuse("operator", "low-rank", f"dense: {graphon} is not smooth enough (error {float(error):.1e})")
    return left, right


def require_graphon(values: Tensor, field: str, positions: Tensor | None = None) -> None:
    """Refuse values[..., k, j] that are not finite, negative, above 1 or asymmetric, naming the first bad pair."""

    def first(bad: Tensor, what: str, wanted: str) -> None:
        if bool(bad.any()):
            index = tuple(bad.nonzero()[0].tolist())
            i, j = index[-2:]
            where = f"{field}[{i}, {j}]"
            if positions is not None:
                where = f"{field}({float(positions[i]):.4g}, {float(positions[j]):.4g})"
            raise refuse(where, f"{float(values[index]):.6g}", f"{wanted}: {what}")

    first(~values.isfinite(), "a graphon is finite", "a finite number")
    first(values < 0, "a graphon is never negative", "at least 0")
    first(values > 1 + 1e-12, "a graphon is a probability of an edge; only the power laws exceed it", "at most 1")
    first((values - values.mT).abs() > 1e-9, "a graphon is symmetric", "W(x, y) = W(y, x)")


@dataclass(frozen=True)
class FunctionGraphon(Graphon):
    """Your own W: a symmetric function of two broadcasting tensors, checked on (a thousand of) its positions."""

    function: Callable[[Tensor, Tensor], Tensor]
    """(x, y) -> W(x, y) in [0, 1]."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.as_tensor(self.function(x, y)).to(x) + torch.zeros_like(x + y)

    def operator(self, grid: Grid, form: Form = "auto") -> Operator:
        some = torch.linspace(0, len(grid) - 1, min(len(grid), 1000), device=grid.positions.device).long()
        x = grid.positions[some]
        require_graphon(self(x[:, None], x), "graphon", x)
        if form == "auto" and len(grid) > DENSE_LIMIT:
            form = "low-rank"
        return super().operator(grid, form)
