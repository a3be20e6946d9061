"""Variational inequalities: a game by the gradients that its players follow, on any convex sets.

Find x* = (x*_1, ..., x*_N) in X = X_1 x ... x X_N with

    <F(x*), x - x*> >= 0     for every x in X

For min_x max_y f(x, y) the operator is F = (grad_x f, -grad_y f); for a game of N players with costs it is everyone's
own gradient, and for mixed policies of a finite game it is minus the payoff vectors. x* is a solution if and only if
it is a zero of the residual |x - P(x - F(x))|, with P the projection on X.

What theorems ask of F, each declared by a problem where it is known:

    monotone                                  <F(x) - F(y), x - y> >= 0
    Lipschitz                                 |F(x) - F(y)| <= lipschitz |x - y|
    weakly quasi-strongly monotone            <F(x), x - x*> >= mu |x - x*|^2 - slack

The last holds of every strongly monotone problem with slack = 0, and of many that are not monotone at all.

Hsieh, Iutzeler, Malick and Mertikopoulos, NeurIPS 2019 (the methods); Vlatakis-Gkaragkounis, Giannou, Chen and Xie,
"Stochastic methods in variational inequalities: ergodicity, bias and refinements", AISTATS 2024 (the last condition).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.games.domains import FREE, Domain

Point = tuple[Tensor, ...]
"""One tensor [..., d] per player; leading dimensions are a batch."""


@runtime_checkable
class VariationalInequality(Protocol):
    """What gradient and extra-gradient methods need; normal-form games and variational problems have it."""

    def start(self) -> Point: ...

    def feedback(self, point: Point, temperature: Any = 0.0) -> Point:
        """What everyone follows, -F(x)."""
        ...

    def project(self, point: Point) -> Point:
        """The nearest feasible point."""
        ...

    def metrics(self, point: Point, temperature: Any = 0.0) -> dict[str, Tensor]: ...


class VariationalProblem(ABC):
    """An operator F on a product of convex sets: `start` and `operator` make one, the rest has defaults."""

    domain: Domain | tuple[Domain, ...] = FREE
    """The set of every player, or one for each."""
    monotone: bool | None = None
    """Whether <F(x) - F(y), x - y> >= 0 for all x, y; None where nobody knows."""
    mu: float | None = None
    """Largest known mu of <F(x), x - x*> >= mu |x - x*|^2 - slack."""
    slack: float | None = None
    """The slack that goes with mu; 0 where F is quasi-strongly monotone."""
    lipschitz: float | None = None
    """Smallest known Lipschitz constant of F."""

    @abstractmethod
    def start(self) -> Point:
        """A feasible point to begin from."""

    @abstractmethod
    def operator(self, point: Point) -> Point:
        """F(x), one tensor per player, for any batch of points."""

    def solution(self) -> Point | None:
        """x*, where it is known."""
        return None

    def project(self, point: Point) -> Point:
        """The nearest feasible point, player by player."""
        return tuple(d.project(x) for d, x in zip(self.domains(len(point)), point, strict=True))

    def domains(self, players: int) -> tuple[Domain, ...]:
        """The set of each player."""
        if isinstance(self.domain, tuple) and len(self.domain) != players:
            raise refuse("domain", f"{len(self.domain)} sets", f"one, or {players}: one per player")
        return self.domain if isinstance(self.domain, tuple) else (self.domain,) * players

    def feedback(self, point: Point, temperature: Any = 0.0) -> Point:
        """-F(x), what everyone follows; there is no entropy to weigh here."""
        return tuple(-f for f in self.operator(point))

    def residual(self, point: Point) -> Tensor:
        """|x - P(x - F(x))|[...]: 0 at solutions alone."""
        moved = self.project(tuple(x - f for x, f in zip(point, self.operator(point), strict=True)))
        return distance(point, moved)

    def metrics(self, point: Point, temperature: Any = 0.0) -> dict[str, Tensor]:
        """The residual, and the distance to the solution where that is known."""
        found = {"residual": self.residual(point)}
        solution = self.solution()
        if solution is not None:
            found["distance"] = distance(point, solution)
        return found

    def require(self, point: object, field: str = "point") -> None:
        """Refuse points of another shape, with what is no number in them, or outside the domain (beyond 1e-6)."""
        like = self.start()
        if not isinstance(point, tuple) or not all(isinstance(x, Tensor) for x in point):
            raise refuse(field, type(point).__name__, "a tuple of tensors, one per player")
        if not like or len(point) != len(like):
            raise refuse(field, f"{len(point)} tensors", f"{len(like) or 'at least one'}, one per player")
        for i, x in enumerate(point):
            name = f"{field}[{i}]"
            if not x.is_floating_point():
                raise refuse(name, f"dtype {x.dtype}", "a floating-point tensor")
            if x.dim() == 0 or x.shape[-like[i].dim() :] != like[i].shape:
                raise refuse(name, f"shape {tuple(x.shape)}", f"[..., {', '.join(map(str, like[i].shape)) or 'd'}]")
            bad = ~x.isfinite()
            if bool(bad.any()):
                index = bad.nonzero()[0].tolist()
                raise refuse(f"{name}{index}", float(x[tuple(index)]), "a finite number")
        for i, (x, near) in enumerate(zip(point, self.project(point), strict=True)):
            off = (x - near).abs()
            if x.numel() and float(off.amax()) > 1e-6 * max(1.0, float(x.abs().amax())):
                away = f"a point {float(off.amax()):.3g} away from the feasible set"
                raise refuse(f"{field}[{i}]", away, "a feasible point; project(point)")

    @staticmethod
    def of(operator: Callable[[Any], Any], start: Any, **known: Any) -> "Given":
        """A problem from a function F(point) -> point; of tensors, if the start is one tensor, else of tuples.

        >>> rotation = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> problem = VariationalProblem.of(lambda x: x @ rotation.T, start=torch.ones(2), monotone=True)
        >>> problem.metrics(problem.start())
        {'residual': tensor(1.4142)}
        """
        if not callable(operator):
            raise refuse("operator", type(operator).__name__, "a function F(point)")
        if isinstance(start, Tensor):
            return Given(lambda point: (operator(point[0]),), (start,), **known)
        return Given(operator, _as_point(start), **known)

    @staticmethod
    def min_max(objective: Callable[[Tensor, Tensor], Tensor], start: Sequence[Any], **known: Any) -> "Given":
        """min_x max_y f(x, y) with gradients by automatic differentiation: f takes [..., d] twice and gives [...].

        >>> saddle = VariationalProblem.min_max(lambda x, y: (x * y).sum(-1), start=[torch.ones(1), torch.ones(1)])
        >>> saddle.operator(saddle.start())
        (tensor([1.]), tensor([-1.]))
        """

        def operator(point: Point) -> Point:
            gx, gy = torch.func.grad(lambda x, y: objective(x, y).sum(), argnums=(0, 1))(*point)
            return gx, -gy

        if len(start) != 2:
            raise refuse("start", f"{len(start)} tensors", "two: who minimises and who maximises")
        return Given(operator, _as_point(start), **known)


@dataclass(frozen=True, eq=False)
class Given(VariationalProblem):
    """A variational problem from functions; see `VariationalProblem.of`."""

    law: Callable[[Point], Point]
    """F(point) -> a point of the same shapes, for any batch."""
    begin: Point
    """Where solvers start."""
    domain: Domain | tuple[Domain, ...] = FREE
    """The set of every player, or one for each."""
    projection: Callable[[Point], Point] | None = None
    """P(point), where no `domain` says it."""
    solves: Point | None = field(default=None, repr=False)
    """The solution, if it is known."""
    monotone: bool | None = None
    mu: float | None = None
    slack: float | None = None
    lipschitz: float | None = None

    def __post_init__(self) -> None:
        self.require(self.begin, "start")
        if self.solves is not None:
            self.require(self.solves, "solves")
        found = self.operator(self.begin)
        shapes = [tuple(f.shape) for f in found]
        if shapes != (wanted := [tuple(x.shape) for x in self.begin]):
            raise refuse("operator", f"shapes {shapes} at the start", f"those of the start, {wanted}")

    def start(self) -> Point:
        return self.begin

    def operator(self, point: Point) -> Point:
        return _like(point, self.law(point), "operator")

    def project(self, point: Point) -> Point:
        if self.projection is None:
            return super().project(point)
        found = _like(point, self.projection(point), "projection")
        shapes, wanted = ([tuple(x.shape) for x in each] for each in (found, point))
        if shapes != wanted:
            raise InvalidInput(f"projection: returned shapes {shapes}, expected those of the point, {wanted}")
        return found

    def solution(self) -> Point | None:
        return self.solves

    def plain(self) -> dict[str, Any]:
        """What JSON says of it."""
        return {"kind": "Given", "operator": getattr(self.law, "__qualname__", "function")}


def distance(point: Point, other: Point) -> Tensor:
    """|x - y|[...] over all players."""
    squares = [(x - y).square().sum(-1) for x, y in zip(point, other, strict=True)]
    return torch.stack(torch.broadcast_tensors(*squares)).sum(0).sqrt()


def _like(point: Point, found: object, function: str) -> Point:
    """What a user's function returned at a point, if it is as many tensors."""
    if not isinstance(found, tuple) or not all(isinstance(f, Tensor) for f in found):
        raise InvalidInput(f"{function}: returned {type(found).__name__}, expected a tuple of tensors like the point")
    if len(found) != len(point):
        raise InvalidInput(f"{function}: returned {len(found)} tensors, expected {len(point)}, one per player")
    return found


def _as_point(start: Any) -> Point:
    point = tuple(torch.as_tensor(x) for x in start)
    return tuple(x if x.is_floating_point() else x.to(torch.float64) for x in point)
