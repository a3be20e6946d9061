"""Where a run may be told to: a choice, `tensorboard(folder=logs)`, that opens a writer when the run begins."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from gamesim.errors import missing_extra, refuse
from gamesim.parameters import kind_of, spelled

Value = str | float | int | bool


class Point(NamedTuple):
    """One number at one iteration."""

    iteration: int
    name: str
    value: float


class Writer(Protocol):
    """What writes for one run; called from one thread, and free to fail."""

    @property
    def newest(self) -> Mapping[str, int]:
        """The last iteration that it has already, by the name of the points; empty for a new run."""

    def write(self, points: Iterable[Point]) -> None:
        """Points that it does not have yet, by iteration."""

    def close(self, ending: Mapping[str, Value]) -> None:
        """The run has ended: `status`, `message`, `iterations`, `seconds`, and metrics as `exploitability/best`."""


@dataclass(frozen=True)
class Place:
    """What run it is, as other tools shall know it."""

    name: str
    folder: Path | None
    """The run's own folder, if it has one."""
    group: str
    """What it is part of, such as a sweep; may be empty."""
    id: str
    """The same whenever this run is continued, and of no other run."""
    continued: bool
    """Whether it was told of before."""

    @property
    def full(self) -> str:
        """Its name with that of the group."""
        return f"{self.group}/{self.name}" if self.group else self.name


class Reporter(ABC):
    """A tool that runs are told to. The kinds are all there is."""

    kinds: ClassVar[dict[str, type]] = {}
    package: ClassVar[str]
    """What has to be installed."""
    extra: ClassVar[str]
    """The extra of gamesim that installs it."""

    def __init_subclass__(cls) -> None:
        Reporter.kinds[kind_of(cls)] = cls

    def require_package(self) -> None:
        """Refuse where the tool is not installed; nothing is imported yet."""
        if find_spec(self.package) is None:
            raise missing_extra(kind_of(type(self)), self.package, f"gamesim[{self.extra}]")

    @abstractmethod
    def require(self, place: Place) -> None:
        """Refuse a place that cannot be written to, before any work; networks are not asked."""

    @abstractmethod
    def target(self, place: Place) -> str:
        """What stands in `reports.json` for it; no secrets."""

    @abstractmethod
    def open(self, place: Place, parameters: Mapping[str, Value]) -> Writer:
        """Begin, or go on."""

    def __str__(self) -> str:
        return spelled(self)


def require_text(field: str, value: Any, wanted: str) -> None:
    if not value.strip() or any(ord(letter) < 32 for letter in value):
        raise refuse(field, value, wanted)
