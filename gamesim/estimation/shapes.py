"""What a graphon may look like while it is being learned: free numbers in, W at sampled positions out.

    exp, power-law, stochastic-block, ...    a family, its parameters free: `exp`; `exp(3)` instead is held fixed
    blocks(K)                                constant on K x K blocks, of equal width or split at `cuts`
    low-rank(r, d)                           sum_r u_r(x) u_r(y), each u_r a polynomial of degree d

Numbers are free on the whole line and mapped into their bounds by exp or the logistic function. A response f(z) and a
graphon W explain the data as well as f(z / c) and c W, for any c: the *gauge* here is max W = 1 for blocks, low rank
and the families whose parameters only scale (Erdos-Renyi, stochastic blocks); the others bring their own scale.
"""

import dataclasses
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.estimation.numbers import Numbers
from gamesim.graphons import Graphon
from gamesim.parameters import convert
from gamesim.randomness import Stream

WIDE = 5.0
"""Standard deviation of the prior of a free number: so weak that it only holds what the data leave open."""
CUTS = 50
"""Places at which a cut is tried at once."""


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

    def widths(self, free: Tensor, q: Tensor) -> Tensor:
        """The shares of the unit interval that agents stand for, [..., n], from what positions say, q[..., n]."""
        return q

    @property
    def jumping(self) -> tuple[int, ...]:
        """Free numbers in which W has no slope."""
        return ()

    @property
    def told_by_degree(self) -> bool:
        """Whether int W(x, y) dy at every x tells W."""
        return True

    scalable: bool = True
    """Whether any multiple of W is in the set, so that only its product with the response is known."""

    def rescaled(self, natural: Tensor, scale: float) -> Tensor:
        """The natural parameters[..., q] of `scale` times the graphon."""
        return natural * scale

    def starts(self, count: int, generator: Stream) -> Tensor:
        """Where to start from, [r, p]: the middle, and random places around it."""
        free = generator.normal((count, self.size))
        free[0] = 0
        return free + self.centre

    def variants(self, free: Tensor, x: Tensor) -> Tensor:
        """What else is worth a try where agents are at x[n]: free[p] with what moves by jumps elsewhere, [v, p]."""
        return free[None]

    def known_between(self, free: Tensor, x: Tensor) -> dict[str, tuple[float, float]]:
        """Natural parameters that move by jumps, between the values that agents at x[n] tell them from."""
        return {}

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

    @property
    def jumping(self) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(self.names) if name in self.cls.jumps)

    def penalty(self, free: Tensor) -> Tensor:
        """The prior of what has a slope."""
        smooth = [i for i in range(self.size) if i not in self.jumping]
        return ((free - self.centre)[..., smooth] ** 2).sum(-1) / (2 * WIDE**2)

    def variants(self, free: Tensor, x: Tensor) -> Tensor:
        """Each jumping parameter half way between neighbouring agents, at fifty places if there are more."""
        tried = [free[None]]
        at = x.unique()
        between = ((at[1:] + at[:-1]) / 2).clamp(1e-6, 1 - 1e-6)
        some = torch.linspace(0, len(between) - 1, min(len(between), CUTS)).long() if len(between) else between.long()
        for i in self.jumping:
            moved = free.repeat(len(some), 1)
            moved[:, i] = between[some].logit()
            tried.append(moved)
        return torch.cat(tried)

    def known_between(self, free: Tensor, x: Tensor) -> dict[str, tuple[float, float]]:
        found, natural = {}, self.natural(free)
        for i in self.jumping:
            below, above = x[x < natural[i]], x[x >= natural[i]]
            found[self.names[i]] = (
                float(below.max()) if len(below) else 0.0, float(above.min()) if len(above) else 1.0,
            )  # fmt: skip
        return found
