"""Charts as data: what an experiment wants drawn. `figures` draws them, so that nobody else needs matplotlib."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Curve:
    """One line of a chart, with a band if low and high are given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Panel:
    """Axes with curves; `theory` draws a reference slope through the first point of the first curve."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = True
    theory: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A figure of one or more panels side by side."""

    name: str
    panels: Sequence[Panel]
