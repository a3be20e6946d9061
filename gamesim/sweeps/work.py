"""One batch -> its folder: what a worker does, whoever starts it; finished batches are never done again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamesim import catalog
from gamesim.errors import InvalidInput, refuse
from gamesim.files import Lock
from gamesim.kernels import fused as fused_kernels
from gamesim.kernels.threads import limit_threads
from gamesim.loop import Observer, Run, Status
from gamesim.parameters import build
from gamesim.records import Record, settings
from gamesim.reporting import reporter_named
from gamesim.running import reports, solve_on_disk
from gamesim.signals import Signals
from gamesim.sweeps.batches import Batch, stack
from gamesim.sweeps.plans import Planned

DYING = 60.0
"""Seconds to wait for a worker that is dying."""
Tell = Callable[[int], None]
"""Told the iterations done, now and then."""


def built_game(run: Planned) -> Any:
    """The game of a run."""
    made, own = catalog.named("games", run.game)
    given = {**own, **run.g}
    if run.settings.device != "cpu" and "device" in getattr(made, "__dataclass_fields__", {}):
        given.setdefault("device", run.settings.device)
    return build(made, given, what=run.game)


def built_solver(run: Planned) -> Any:
    """The solver of a run."""
    return build(catalog.find("solvers", run.solver), run.s, what=run.solver)


def folder_of(root: Path, batch: Batch) -> Path:
    return root / "batches" / batch.name


def log_of(root: Path, batch: Batch) -> Path:
    """What the workers of a batch said."""
    return root / "logs" / f"{batch.name}.txt"


def finished(folder: Path) -> bool:
    """Whether a batch ended by itself: interrupted ones go on."""
    done = folder / "DONE"
    return done.is_file() and not done.read_text("utf-8", errors="replace").startswith(Status.INTERRUPTED.label)


def said_of(batch: Batch) -> dict[str, Any]:
    """What stands in the config.json of a batch beside what stands in that of any run: which runs it is."""
    runs = batch.runs
    return {"batch": [r.seed for r in runs], "runs": [r.name for r in runs], "varied": [r.varied for r in runs]}


def perform(root: Path, batch: Batch, threads: int, tell: Tell = lambda iteration: None) -> int:
    """Do a batch, or what is left of it, in this process; returns the exit code that `gamesim run` would."""
    folder = folder_of(root, batch)
    if finished(folder):
        return 0
    wait_for(folder)
    limit_threads(threads)
    first = batch.runs[0]
    own = first.settings
    tools = [reporter_named(text) for text in batch.log]
    game = built_game(first)
    distinct = {tuple(run.s.items()): run for run in batch.runs}
    solver = built_solver(first) if len(distinct) == 1 else stack([built_solver(run) for run in batch.runs])
    seeds = [run.seed for run in batch.runs]
    with Signals() as signals, fused_kernels(True):
        config = settings(
            game, solver, ids=(first.game, first.solver), given=(dict(first.g), dict(first.s)),
            iterations=own.iterations, tolerance=own.tolerance, seeds=None, seed=0, every=own.measured,
            start=own.start, average=own.average, **said_of(batch),
        )  # fmt: skip
        record = Record(folder, config, resume=True)
        outcome = solve_on_disk(
            game, solver, record, iterations=own.iterations, tolerance=own.tolerance, seeds=seeds, seed=0,
            every=own.measured, average=own.average, start=own.start, signals=signals, figures=False,
            observers=[Telling(tell, len(batch.runs)), *reports(tools, record, group=root.name)],
        )  # fmt: skip
    return outcome.code


def wait_for(folder: Path) -> None:
    """A worker or a machine that is dying may still hold the folder of the batch that was taken from it."""
    until = time.monotonic() + DYING
    while folder.is_dir() and time.monotonic() < until:
        try:
            Lock(folder).release()
            return
        except InvalidInput:
            time.sleep(0.2)


class Telling(Observer):
    """Passes on how far a batch is, and sees that each of its runs has a number of its own."""

    def __init__(self, tell: Tell, runs: int) -> None:
        self._tell, self._runs = tell, runs

    def measured(self, run: Run) -> Status | None:
        name, values = next(iter(run.trace.metrics.items()))
        if values[-1].numel() != self._runs:
            wanted = f"one for each of {self._runs} runs: a sweep takes single games, no batch of them"
            raise refuse("game", f"{values[-1].numel()} values of {name}", wanted)
        self._tell(run.iteration)
        return None
