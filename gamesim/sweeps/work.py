"""One batch -> its folder: what a worker does, whoever starts it; finished batches are never done again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from gamesim import catalog
from gamesim.kernels import fused as fused_kernels
from gamesim.loop import Observer, Run, Status
from gamesim.parameters import build
from gamesim.records import Record, settings
from gamesim.reporting import reporter_named
from gamesim.running import reports, solve_on_disk
from gamesim.signals import Signals
from gamesim.sweeps.batches import Batch, stack
from gamesim.sweeps.design import Planned

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


def finished(folder: Path) -> bool:
    """Whether a batch ended by itself: interrupted ones go on."""
    done = folder / "DONE"
    return done.is_file() and not done.read_text(encoding="utf-8").startswith(Status.INTERRUPTED.label)


def perform(root: Path, batch: Batch, threads: int, tell: Tell = lambda iteration: None) -> int:
    """Do a batch, or what is left of it, in this process; returns the exit code that `gamesim run` would."""
    folder = folder_of(root, batch)
    if finished(folder):
        return 0
    threadpool_limits(threads)
    torch.set_num_threads(threads)
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
            start=own.start, average=own.average, batch=seeds, runs=[run.name for run in batch.runs],
        )  # fmt: skip
        record = Record(folder, config, resume=True)
        outcome = solve_on_disk(
            game, solver, record, iterations=own.iterations, tolerance=own.tolerance, seeds=seeds, seed=0,
            every=own.measured, average=own.average, start=own.start, signals=signals, figures=False,
            observers=[Telling(tell), *reports(tools, record, group=root.name)],
        )  # fmt: skip
    return outcome.code


class Telling(Observer):
    """Passes on how far a batch is."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def measured(self, run: Run) -> Status | None:
        self._tell(run.iteration)
        return None
