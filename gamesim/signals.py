"""Ctrl-C and kill, politely: the first ends the run after the iteration under way, a second one ends it at once."""

import signal
import sys
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any

from gamesim.loop import Observer, Run, Status


class Interrupted(BaseException):
    """A second signal (its number): stop at once; what was last saved stays."""


class Signals(Observer):
    """An observer that listens for SIGINT and SIGTERM while its `with` block lasts; in a thread nobody can listen."""

    def __init__(self) -> None:
        self.caught = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ():
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.caught:
            raise Interrupted(number)
        self.caught = number
        print("\nfinishing this iteration and writing the run; again to stop at once", file=sys.stderr)

    def iterated(self, run: Run) -> Status | None:
        return Status.INTERRUPTED if self.caught else None
