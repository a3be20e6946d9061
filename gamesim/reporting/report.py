"""The observer that tells a run to one tool, from a thread of its own, and lets nothing that goes wrong reach the run.

A writer that fails says so once on stderr, and the run goes on without it. A slow one is waited for; one that takes
nothing for `patience` seconds has failed.

A continued run is the same run there, too: points that a tool has are not written again, which is right because a
continued run repeats the same numbers, and points that it missed while it was failing or killed are made up for from
the trace. What ties them is the run's entry in RUN/reports.json.
"""

import queue
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamesim.errors import InvalidInput
from gamesim.files import read_json, write_json
from gamesim.loop import Observer, Run, Status
from gamesim.parameters import convert, kind_of
from gamesim.records import Record, settings
from gamesim.reporting.kinds import Place, Point, Reporter, Value, Writer
from gamesim.reporting.points import all_points, ending, newest_points, parameters_of

NOTE = "reports.json"
WAITING = 10_000
"""Measures that wait for a writer at most; then the run waits."""
AT_ONCE = 200
"""Measures that are written together at most."""


class Report(Observer):
    """Tells one run to one tool; see `report_to`."""

    def __init__(self, reporter: Reporter, record: Record | None = None, group: str = "", patience: float = 30.0):
        self.reporter, self.patience = reporter, patience
        self.failed = ""
        """What went wrong; empty where nothing did."""
        self._config = None if record is None else record.config
        self._folder = None if record is None else Path(record.folder)
        self._group = group
        self._waiting = queue.Queue[list[Point] | dict[str, Value]](WAITING)
        self._thread: threading.Thread | None = None
        self._told = 0
        reporter.require_package()
        self._place = self._placed(False)
        if record is not None:
            reporter.require(self._place)

    def _placed(self, continued: bool) -> Place:
        name = "run" if self._folder is None else self._folder.absolute().name
        place = Place(name, self._folder, self._group, uuid.uuid4().hex, continued)
        known = self._note().get(self._key(place))
        return place if known is None else Place(name, self._folder, self._group, known, True)

    def _key(self, place: Place) -> str:
        return f"{kind_of(type(self.reporter))} {self.reporter.target(place)}"

    def _note(self) -> dict[str, str]:
        path = None if self._folder is None else self._folder / NOTE
        if path is None or not path.exists():
            return {}
        found = read_json(path)
        if not isinstance(found, dict) or not all(isinstance(x, str) for x in found.values()):
            raise InvalidInput(f"{path}: not a file that gamesim wrote; without it the run is told as a new one")
        return found

    def begin(self, run: Run) -> None:
        if self._folder is None:
            self._place = self._placed(bool(run.trace.iterations))
            self.reporter.require(self._place)
        config = self._config or settings(run.game, run.solver, iterations=run.iterations, seed=run.trace.first_seed)
        try:
            if self._folder is not None:
                write_json(self._folder / NOTE, self._note() | {self._key(self._place): self._place.id})
            parameters = parameters_of(config)
        except Exception as error:  # of any kind, here and below: the run does not depend on it
            return self._fail(error)
        self._thread = threading.Thread(target=self._work, args=(parameters,), daemon=True)
        self._thread.start()
        self._tell(lambda: all_points(run.trace))

    def measured(self, run: Run) -> Status | None:
        self._tell(lambda: newest_points(run.trace))
        return None

    def end(self, run: Run) -> None:
        if self._thread is None:
            return
        self._tell(lambda: ending(run))
        told = -1
        while self._thread.is_alive() and told < self._told:  # as long as something moves
            told = self._told
            self._thread.join(self.patience)
        if self._thread.is_alive():
            self._fail(TimeoutError(f"nothing was taken for {self.patience:g} seconds"))
        self._thread = None

    def _tell(self, what: Callable[[], list[Point] | dict[str, Value]]) -> None:
        if self.failed or self._thread is None:
            return
        try:
            self._waiting.put(what(), timeout=self.patience)
        except queue.Full:
            self._fail(TimeoutError(f"nothing was taken for {self.patience:g} seconds"))
        except Exception as error:  # of a measurement that a tool cannot take
            self._fail(error)

    def _work(self, parameters: dict[str, Value]) -> None:
        try:
            writer = self.reporter.open(self._place, parameters)
            newest = dict(writer.newest)
            while not self.failed and not self._written(writer, newest):
                pass
        except Exception as error:  # whatever a tool raises
            self._fail(error)

    def _written(self, writer: Writer, newest: dict[str, int]) -> bool:
        """Write what waits, at least one thing; whether that was the end."""
        taken, last = list[Point](), None
        parts = [self._waiting.get()]
        while len(parts) < AT_ONCE and not self._waiting.empty():
            parts.append(self._waiting.get())
        for part in parts:
            if isinstance(part, dict):
                last = part
            else:
                taken += [p for p in part if p.iteration > newest.get(p.name, -1)]
        if taken:
            writer.write(taken)
        if last is not None:
            writer.close(last)
        self._told += len(parts)
        return last is not None

    def _fail(self, error: Exception) -> None:
        if self.failed:
            return
        words = " ".join(str(error).split())[:300]
        self.failed = f"{type(error).__name__}: {words}" if words else type(error).__name__
        kind = kind_of(type(self.reporter))
        print(f"note: {kind}: {self.failed}; the run goes on without it", file=sys.stderr, flush=True)


def reporter_named(text: Any) -> Reporter:
    """`tensorboard`, `mlflow(uri=sqlite:///mlflow.db, experiment=graphons)`, `wandb(project=graphons)`, or such a kind.

    Refused where it is none of these, or its package is missing.
    """
    found: Reporter = convert(text, Reporter, "log")
    found.require_package()
    return found


def report_to(tool: str | Reporter, record: Record | None = None, *, group: str = "", patience: float = 30.0) -> Report:
    """An observer of `solve` that tells the run to a tool.

    tool:     see `reporter_named`.
    record:   of the same run; then continuing the run continues what is told, and its folder's name is the run's.
    group:    what the run is part of, such as a sweep.
    patience: seconds that a run waits for a writer that takes nothing, before it goes on without it.
    """
    return Report(reporter_named(tool), record, group, patience)
