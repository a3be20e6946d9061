"""Schedules: a step size is a function of the iteration t = 0, 1, 2, ...; frozen, printable and savable.

On the command line they are written as calls: `-s "step_size=power(1, 0.5)"`; a bare number is a constant.
"""

import dataclasses
import math
import numbers
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor

from gamesim.parameters import Bounds, Positive, check, convert


class Schedule(ABC):
    """t -> number. The kinds below are all there is; a bare number stands for `Constant`."""

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls) -> None:
        Schedule.kinds[cls.__name__.lower()] = cls

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Schedule | None":
        """A bare number, or its text, is a constant."""
        if isinstance(value, Tensor):
            return Constant(value)
        if isinstance(value, str) and not re.fullmatch(r"\s*[-+.\d].*|nan|inf", value):
            return None
        if isinstance(value, numbers.Real | str) and not isinstance(value, bool):
            return Constant(convert(value, float, field))
        return None

    @abstractmethod
    def __call__(self, t: int) -> float | Tensor: ...

    @property
    def decay(self) -> float:
        """p where it falls like t^-p: 0 for one that stays, infinite for one that falls faster than any power."""
        return 0.0

    def __str__(self) -> str:
        fields = dataclasses.astuple(self)  # type: ignore[call-overload]
        return f"{type(self).__name__.lower()}({', '.join(map(_short, fields))})"


def _short(x: Any) -> str:
    if isinstance(x, Tensor) and x.dim():
        return f"{x.numel()} values"
    return f"{x:g}" if isinstance(x, float) else str(x)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same number for ever.

    >>> str(Constant(0.1)), Constant(0.1)(7)
    ('constant(0.1)', 0.1)
    """

    value: float | Tensor

    def __call__(self, t: int) -> float | Tensor:
        return self.value


@dataclass(frozen=True)
class Power(Schedule):
    """scale / (t + offset) ** exponent, t = 0, 1, 2, ...

    >>> [Power(1.0, 0.5)(t) for t in (0, 3)]
    [1.0, 0.5]
    """

    scale: float | Tensor
    exponent: float = 1.0
    offset: Positive = 1.0

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, t: int) -> float | Tensor:
        return self.scale / (t + self.offset) ** self.exponent

    @property
    def decay(self) -> float:
        return self.exponent


@dataclass(frozen=True)
class Geometric(Schedule):
    """scale * ratio ** t, never below floor.

    >>> [Geometric(1.0, 0.5, 0.2)(t) for t in (0, 1, 5)]
    [1.0, 0.5, 0.2]
    """

    scale: float
    ratio: float
    floor: float = 0.0

    def __call__(self, t: int) -> float:
        return max(self.scale * self.ratio**t, self.floor)

    @property
    def decay(self) -> float:
        return math.inf if self.ratio < 1 and self.floor == 0 else 0.0


StepSize = Annotated[Schedule, Bounds("a number or schedule above 0", 0, low_open=True)]
Share = Annotated[Schedule, Bounds("a number or schedule above 0 and at most 1", 0, 1, low_open=True)]
Mixing = Annotated[Schedule, Bounds("a number or schedule of at least 0 and below 1", 0, 1, high_open=True)]
