"""What a sweep is to do: every run with its settings, in order, and the blocks of the file that these are made from."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

from gamesim.errors import refuse
from gamesim.parameters import Bounds, Count, Device, Natural, check, plain
from gamesim.sweeps.axes import MOST, Axis

Seeds = Annotated[int, Bounds("a whole number from 1 to 100,000", 1, MOST)]
Tolerance = Annotated[float, Bounds("a number of at least 0", 0)]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `gamesim run` takes as options, and how many runs go into one batch."""

    iterations: Natural = 100
    seeds: Seeds = 1
    seed: Natural = 0
    every: str = "1"
    tolerance: Tolerance | None = None
    start: Literal["game", "random"] = "game"
    average: bool = False
    device: Device = "cpu"
    batch: Count = 128
    """Runs of one batch, at most; 1: each run alone."""

    def __post_init__(self) -> None:
        check(self)
        if self.every != "log" and not (self.every.isdecimal() and self.every.isascii() and 0 < int(self.every) < 1e12):
            raise refuse("every", self.every, 'a whole number of at least 1, or "log"')

    @property
    def measured(self) -> Any:
        return "log" if self.every == "log" else int(self.every)


@dataclass(frozen=True)
class Planned:
    """One run: one configuration with one seed."""

    name: str
    game: str
    solver: str
    g: Mapping[str, str]
    s: Mapping[str, str]
    seed: int
    settings: Settings = field(repr=False)

    @property
    def varied(self) -> dict[str, str]:
        return {**{f"g.{k}": v for k, v in self.g.items()}, **{f"s.{k}": v for k, v in self.s.items()}}

    @property
    def command(self) -> str:
        """What does this run alone."""
        words = ["gamesim", "run", self.game, self.solver]
        words += [w for k, v in self.g.items() for w in ("-g", f"{k}={v}")]
        words += [w for k, v in self.s.items() for w in ("-s", f"{k}={v}")]
        own = self.settings
        words += ["--iterations", str(own.iterations), "--every", own.every, "--seed", str(self.seed)]
        words += [] if own.tolerance is None else ["--tolerance", repr(own.tolerance)]
        words += [] if own.start == "game" else ["--start", own.start]
        words += ["--average"] if own.average else []
        words += [] if own.device == "cpu" else ["--device", own.device]
        return shlex.join(words)


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep, in order; `text` is the file that said so."""

    runs: tuple[Planned, ...]
    text: str = field(repr=False)
    tune: Mapping[str, Any] | None = None
    axes: tuple[Axis, ...] = ()
    """What a tuner may choose, as `g.name` and `s.name`; only with a table [tune]."""

    def plain(self) -> list[dict[str, Any]]:
        """The runs as JSON data."""
        return [
            {"run": r.name, "game": r.game, "solver": r.solver, "g": dict(r.g), "s": dict(r.s), "seed": r.seed}
            | {"settings": plain_settings(r.settings)}
            for r in self.runs
        ]


def plain_settings(settings: Settings) -> dict[str, Any]:
    data = cast(dict[str, Any], plain(settings))
    return {name: value for name, value in data.items() if name not in ("kind", "seeds", "seed")}


@dataclass(frozen=True)
class Block:
    """A table [[runs]]: settings, axes, and how they are combined."""

    where: str
    settings: Settings
    games: tuple[str, ...]
    solvers: tuple[str, ...]
    axes: tuple[Axis, ...]
    design: str
    draws: int
    design_seed: int
