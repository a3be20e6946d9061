"""Who does the work of a sweep: the few things that the scheduler asks of any engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gamesim.errors import InvalidInput, refuse
from gamesim.sweeps.batches import Batch

End = Literal["done", "interrupted", "refused", "failed", "lost"]
"""done: its folder is finished; refused: bad input; failed: it raised; lost: its process or machine died."""


@dataclass(frozen=True)
class Event:
    """What became of a batch, or, without an end, how far it is: it lives. The first says that it has begun."""

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

    def end(self, batch: Batch) -> None:
        """Kill what does a batch, however it hangs; what became of it, an event tells."""

    def stop(self) -> None:
        """Interrupt what is under way: it saves its state and ends."""

    def close(self) -> None:
        """Leave nothing behind; may be called at any time, more than once."""


def engine_named(
    name: str, *, workers: int | None, threads: int, address: str | None = None, gpus: float = 0.0
) -> Engine:
    """The engine `local` or `ray`."""
    if name == "local":
        if address is not None:
            raise refuse("address", address, "--engine ray beside it")
        if gpus:
            raise refuse("gpus", gpus, "--engine ray beside it: local processes reserve nothing")
        from gamesim.sweeps.local import Local, workers_for

        return Local(workers_for(threads, workers))
    if name != "ray":
        raise InvalidInput(f"engine: got {name!r}, expected local or ray")
    from gamesim.sweeps.ray import Ray

    return Ray(slots=workers, address=address, gpus=gpus)
