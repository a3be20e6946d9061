"""Timing side by side: the contestants take turns, medians are quoted, and a row says whether its bar holds."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]
"""id, ours, peer, ratio (larger is better for us), bar, holds (None where there is no bar or no peer), note."""


def interleaved(contestants: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Median CPU seconds of a call of each, after one call that is not counted; they take turns.

    CPU time, not the clock: a busy machine slows both sides of a ratio differently, their work not at all.
    """
    for call in contestants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            started = time.process_time()
            call()
            seconds[name].append(time.process_time() - started)
    return {name: statistics.median(found) for name, found in seconds.items()}


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    """So many calls as one, for what is too short to time."""

    def together() -> None:
        for _ in range(times):
            call()

    return together


def row(id: str, ours: float, peer: float | None, bar: float | None, note: str, ratio: float | None = None) -> Row:
    """A row with the ratio peer / ours, held against its bar."""
    ratio = peer / ours if ratio is None and peer is not None else ratio
    holds = None if bar is None or ratio is None else bool(ratio >= bar)
    return {"id": id, "ours": ours, "peer": peer, "ratio": ratio, "bar": bar, "holds": holds, "note": note}


def counted(id: str, wrong: int, note: str) -> Row:
    """A row that counts what went wrong: its bar is none."""
    return {"id": id, "ours": wrong, "peer": None, "ratio": None, "bar": 0, "holds": not wrong, "note": note}
