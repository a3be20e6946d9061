"""What a person sees while a run goes: a live bar on a terminal, a line now and then elsewhere; on stderr."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gamesim.loop import Observer, Run, Status


class Progress(Observer):
    """A bar with the current exploitability; one plain line each `interval` seconds where there is no terminal."""

    def __init__(self, interval: float = 5.0) -> None:
        self.interval = interval
        self._live: Any = None
        self._task: Any = None
        self._last = 0.0

    def begin(self, run: Run) -> None:
        self._last = time.monotonic()
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._live = Bar(
            BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"),
            console=Console(stderr=True), refresh_per_second=8,
        )  # fmt: skip
        self._task = self._live.add_task("starting", total=run.iterations, completed=run.iteration)
        self._live.start()

    def measured(self, run: Run) -> Status | None:
        if self._live is not None:
            self._live.update(self._task, completed=run.iteration, description=describe_measure(run))
        elif time.monotonic() - self._last > self.interval:
            self._last = time.monotonic()
            print(f"iteration {run.iteration}/{run.iterations}  {describe_measure(run)}", file=sys.stderr, flush=True)
        return None

    def end(self, run: Run) -> None:
        if self._live is not None:
            self._live.update(self._task, completed=run.iteration)
            self._live.stop()
            self._live = None


@contextmanager
def announced(text: str, after: float = 2.0) -> Iterator[None]:
    """Say a line on stderr if what is inside takes longer than so many seconds."""
    timer = threading.Timer(after, lambda: print(text, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def describe_measure(run: Run) -> str:
    """The newest exploitability, the target's where it is another, as means over the batch."""
    names = dict.fromkeys((run.target, "exploitability"))
    shown = [
        f"{n.replace('_', ' ')} {float(run.trace.metrics[n][-1].mean()):.3e}" for n in names if n in run.trace.metrics
    ]
    return "  ".join(shown)
