"""Who does the work of a sweep: the few things that the scheduler asks of any engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gamesim.sweeps.batches import Batch

End = Literal["done", "interrupted", "refused", "failed", "lost"]
"""done: its folder is finished; refused: bad input; failed: it raised; lost: its process or machine died."""


@dataclass(frozen=True)
class Event:
    """What became of a batch, or, without an end, how far it is."""

    batch: Batch
    iteration: int = 0
    end: End | None = None
    error: str = ""


class Engine(Protocol):
    """Starts batches and says what became of them. `perform` of `gamesim.sweeps.work` is the work, `root` its place."""

    slots: int
    """How many batches may be under way at once."""

    def open(self, root: Path, threads: int) -> None:
        """Get ready; before the first batch."""

    def start(self, batch: Batch) -> None:
        """Begin a batch, or go on with it; returns at once."""

    def wait(self, seconds: float) -> list[Event]:
        """What happened, waiting so long at most if nothing did."""

    def stop(self) -> None:
        """Interrupt what is under way: it saves its state and ends."""

    def close(self) -> None:
        """Leave nothing behind; may be called at any time, more than once."""
