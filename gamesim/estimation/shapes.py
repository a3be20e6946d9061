"""What a graphon may look like while it is being learned: free numbers in, W at sampled positions out.

    exp, power-law, stochastic-block, ...    a family, its parameters free: `exp`; `exp(3)` instead is held fixed
    blocks(K)                                constant on K x K blocks, of equal width or split at `cuts`
    low-rank(r, d)                           sum_r u_r(x) u_r(y), each u_r a polynomial of degree d

Numbers are free on the whole line and mapped into their bounds by exp or the logistic function. A response f(z) and a
graphon W explain the data as well as f(z / c) and c W, for any c: the *gauge* here is max W = 1 for blocks, low rank
and the families whose parameters only scale (Erdos-Renyi, stochastic blocks); the others bring their own scale.
"""

import dataclasses
import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.estimation.numbers import Numbers
from gamesim.graphons import BlockGraphon, Graphon, Legendre
from gamesim.parameters import Count, Fraction, Natural, check, convert
from gamesim.randomness import Stream

WIDE = 5.0
"""Standard deviation of the prior of a free number: so weak that it only holds what the data leave open."""


class Shape(ABC):
    """A set of graphons, numbered by free[..., p]."""

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind:
            Shape.kinds[kind] = cls

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Shape | None":
        """A graphon with its parameters is held fixed; the bare name of a family, or its class, is to be learned."""
        if isinstance(value, type) and issubclass(value, Graphon):
            return Family(next(name for name, kind in Graphon.kinds.items() if kind is value))
        if isinstance(value, str):
            name = re.match(r"\s*([A-Za-z][\w-]*)\s*(\(?)", value)
            if name is None or name[1] not in {*cls.kinds, *Graphon.kinds}:
                raise unknown(field, name[1] if name else value, {*cls.kinds, *Graphon.kinds})
            if name[1] in cls.kinds:
                return None
            if not name[2]:
                return Family(name[1])
        if isinstance(value, Graphon | str | Tensor) or callable(value):
            return Fixed(convert(value, Graphon, field))
        return None

    names: tuple[str, ...] = ()
    """Of the natural parameters."""
    size: int = 0
    """How many free numbers."""

    @abstractmethod
    def natural(self, free: Tensor) -> Tensor:
        """The parameters as people know them, free[..., p] -> [..., q], in the gauge."""

    @abstractmethod
    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        """W at positions x[n]: [..., n, n]."""

    @abstractmethod
    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        """The graphon of one free[p], times a number where the gauge leaves that open."""

    scalable: bool = True
    """Whether any multiple of W is in the set, so that only its product with the response is known."""

    def rescaled(self, natural: Tensor, scale: float) -> Tensor:
        """The natural parameters[..., q] of `scale` times the graphon."""
        return natural * scale

    def starts(self, count: int, generator: Stream) -> Tensor:
        """Where to start from, [r, p]: the middle, and random places around it."""
        free = generator.normal((max(count, 1), self.size))
        free[0] = 0
        return free + self.centre

    @property
    def centre(self) -> Tensor:
        """Where the prior sits, [p]."""
        return torch.zeros(self.size, dtype=torch.float64)

    def penalty(self, free: Tensor) -> Tensor:
        """Minus the log of the prior, [...]."""
        return ((free - self.centre) ** 2).sum(-1) / (2 * WIDE**2)


@dataclass(frozen=True)
class Fixed(Shape):
    """Nothing to learn: a graphon that is known, or assumed."""

    known: Graphon

    def __str__(self) -> str:
        return str(self.known)

    def natural(self, free: Tensor) -> Tensor:
        return free

    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        return self.known(x[:, None], x).expand(*free.shape[:-1], len(x), len(x))

    scalable = False

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        return self.known


@dataclass(frozen=True)
class Family(Shape):
    """A family of `gamesim.graphons` by its name, with all its parameters free."""

    kind: str

    def __post_init__(self) -> None:
        if len(self.numbers) < len(dataclasses.fields(self.cls)):
            raise refuse("graphon", self.kind, "a family of numbers, such as exp; or blocks(K), low-rank(r, d)")

    def __str__(self) -> str:
        return self.kind

    @cached_property
    def cls(self) -> Any:
        return Graphon.kinds[self.kind]

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers.of(self.cls)

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.numbers.bounds)

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.numbers)

    @property
    def centre(self) -> Tensor:
        """The family's defaults."""
        return self.numbers.centre

    def natural(self, free: Tensor) -> Tensor:
        found = self.numbers.bound(free)
        scaled = [found[name] for name in self.cls.scaled_by]
        if scaled:
            largest = torch.stack(scaled, -1).amax(-1)
            found |= {name: found[name] / largest for name in self.cls.scaled_by}
        return torch.stack(list(found.values()), -1) if found else free

    def _kind(self, free: Tensor) -> Graphon:
        return self.cls(*self.natural(free).unbind(-1))  # type: ignore[no-any-return]

    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        w = self._kind(free)(x[:, None], x)
        return w.expand(*free.shape[:-1], len(x), len(x))

    @property
    def scalable(self) -> bool:  # type: ignore[override]
        return bool(self.cls.scaled_by)

    def rescaled(self, natural: Tensor, scale: float) -> Tensor:
        factors = [scale if name in self.cls.scaled_by else 1.0 for name in self.names]
        return natural * torch.tensor(factors, dtype=natural.dtype)

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        found = dict(zip(self.names, self.natural(free).tolist(), strict=True))
        return self.cls(**found | {n: scale * found[n] for n in self.cls.scaled_by})  # type: ignore[no-any-return]

    def starts(self, count: int, generator: Stream) -> Tensor:
        """What moves by jumps has no slope: it is tried on a grid instead."""
        jumping = [i for i, name in enumerate(self.names) if name in self.cls.jumps]
        if not jumping:
            return super().starts(count, generator)
        cuts = torch.arange(1, 20, dtype=torch.float64) / 20
        free = super().starts(1, generator).expand(len(cuts), -1).clone()
        free[:, jumping[0]] = (cuts / (1 - cuts)).log()
        return free


@dataclass(frozen=True)
class Blocks(Shape, kind="blocks"):
    """Constant on blocks."""

    count: Count = 2
    """How many blocks."""
    cuts: tuple[Fraction, ...] = ()
    """Where a new block begins; left out, equal widths (known positions) or by label (unknown ones)."""

    def __post_init__(self) -> None:
        check(self)
        if self.cuts and (len(self.cuts) != self.count - 1 or list(self.cuts) != sorted(set(self.cuts))):
            raise refuse("graphon.cuts", list(self.cuts), f"{self.count - 1} increasing numbers")

    def __str__(self) -> str:
        return f"blocks({self.count})"

    @cached_property
    def edges(self) -> Tensor:
        """The inner cuts, [K - 1]."""
        equal = torch.arange(1, self.count, dtype=torch.float64) / self.count
        return torch.tensor(self.cuts, dtype=torch.float64) if self.cuts else equal

    @cached_property
    def pairs(self) -> Tensor:
        """Block pairs i <= j, [2, q]."""
        return torch.triu_indices(self.count, self.count)

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"W[{i},{j}]" for i, j in self.pairs.T.tolist())

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.count * (self.count + 1) // 2

    def natural(self, free: Tensor) -> Tensor:
        return (free - free.amax(-1, keepdim=True)).exp()

    def values(self, free: Tensor) -> Tensor:
        """The block values, symmetric, the largest one 1: [..., K, K]."""
        place = torch.zeros(self.count, self.count, dtype=torch.long)
        i, j = self.pairs
        place[i, j] = place[j, i] = torch.arange(self.size)
        return self.natural(free)[..., place]

    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        block = torch.searchsorted(self.edges, x, right=True)
        return self.values(free)[..., block[:, None], block]

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        values = scale * self.values(free)
        return BlockGraphon(tuple(map(tuple, values.tolist())), tuple(self.edges.tolist()))


@dataclass(frozen=True)
class LowRank(Shape, kind="low-rank"):
    """sum_r u_r(x) u_r(y), each u_r a polynomial."""

    rank: Count = 1
    """How many products."""
    degree: Natural = 3
    """Of each polynomial."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"low-rank({self.rank}, {self.degree})"

    @cached_property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"u[{r},{d}]" for r in range(self.rank) for d in range(self.degree + 1))

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.rank * (self.degree + 1)

    @property
    def centre(self) -> Tensor:
        """A constant graphon."""
        flat = torch.zeros(self.rank, self.degree + 1, dtype=torch.float64)
        flat[0, 0] = 1
        return flat.flatten()

    @cached_property
    def looked_at(self) -> Tensor:
        """Where the largest value is sought."""
        return torch.linspace(0, 1, 101, dtype=torch.float64)

    def natural(self, free: Tensor) -> Tensor:
        c = free.unflatten(-1, (self.rank, self.degree + 1))
        u = c @ Legendre.basis(self.looked_at, self.degree)
        largest = (u.mT @ u).amax((-2, -1)).clamp(min=1e-12)
        scaled: Tensor = c / largest.sqrt()[..., None, None]
        return scaled.flatten(-2)

    def matrix(self, free: Tensor, x: Tensor) -> Tensor:
        u = self.natural(free).unflatten(-1, (self.rank, self.degree + 1)) @ Legendre.basis(x, self.degree)
        product: Tensor = u.mT @ u
        return product

    def rescaled(self, natural: Tensor, scale: float) -> Tensor:
        return natural * math.sqrt(scale)

    def penalty(self, free: Tensor) -> Tensor:
        """The prior, and what keeps W from being negative."""
        w = self.matrix(free, self.looked_at[::5])
        return super().penalty(free) + 1e5 * (w.clamp(max=0) ** 2).mean((-2, -1))

    def graphon(self, free: Tensor, scale: float = 1.0) -> Graphon:
        c = self.natural(free).unflatten(-1, (self.rank, self.degree + 1)) * scale**0.5
        return Legendre(tuple(map(tuple, c.tolist())))
