"""What a sweep found, from its folders alone: one tidy table, and how every run ended.

run, game, solver, g.*, s.*, seed, status, iteration, metric, value
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gamesim.errors import NOTE, InvalidInput
from gamesim.files import read_json, write_with
from gamesim.formats.tidy import quoted
from gamesim.records import read_trace
from gamesim.sweeps.batches import Batch
from gamesim.sweeps.plans import Planned, plain_settings
from gamesim.sweeps.work import finished, folder_of, said_of
from gamesim.traces import Trace, about

SETTINGS = ("iterations", "every", "tolerance", "start", "average")
COLUMNS = ("run", "game", "solver", "seed", "status", "iteration", "metric", "value")
LARGEST = 2**20
"""Of what a worker said so many characters are looked through for notes."""


@dataclass(frozen=True)
class Ended:
    """A run that is finished: how, and what was measured, in the row of a batch."""

    run: Planned
    status: str
    trace: Trace = field(repr=False)
    row: int

    @property
    def last(self) -> dict[str, float]:
        """Every metric at the last measure; NaN of a run that diverged."""
        return {name: float(values[-1].reshape(-1)[self.row]) for name, values in self.trace.metrics.items()}


def ended(root: Path, batch: Batch) -> list[Ended]:
    """The runs of a batch that are finished on disk: together, or each alone.

    A folder that is damaged, or of other runs, is refused: its numbers would stand in the table as if they were right.
    """
    found = list[Ended]()
    for part in (batch, *(batch.alone() if len(batch.runs) > 1 else ())):
        folder = folder_of(root, part)
        if not finished(folder):
            continue
        try:
            found += _read(folder, part)
        except (InvalidInput, KeyError, TypeError, IndexError, AttributeError) as error:
            reason = str(error) if isinstance(error, InvalidInput) else f"summary.json: {type(error).__name__}"
            words = "remove this folder, and --resume does the batch again"
            raise InvalidInput(f"{folder}: damaged, or not of this sweep ({reason}); {words}") from None
        if part is batch:
            break
    return found


def notes_of(root: Path) -> list[str]:
    """What workers noted (gamesim.errors.Caution), each note once, with how many batches had it, the most first."""
    met = Counter[str]()
    for log in sorted((root / "logs").glob("*.txt")):
        with log.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(LARGEST).splitlines()
        met.update({line.removeprefix(NOTE): 1 for line in lines if line.startswith(NOTE)})
    return [note if count == 1 else f"{note} ({count} batches)" for note, count in met.most_common()]


def _read(folder: Path, batch: Batch) -> list[Ended]:
    """The runs of a finished folder."""
    summary, config, trace = read_json(folder / "summary.json"), read_json(folder / "config.json"), read_trace(folder)
    for name, value in said_of(batch).items():
        if config.get(name, value) != value:
            raise InvalidInput(f"config.json: {name} is not that of the plan")
    for part, id in (("game", batch.runs[0].game), ("solver", batch.runs[0].solver)):
        if config[part]["id"] != id:
            raise InvalidInput(f"config.json: {part} is {config[part]['id']}, in the plan {id}")
    rows = {values.numel() for found in trace.metrics.values() for values in found}
    times = {len(values) for values in trace.metrics.values()}
    if trace.iterations[-1:] != [summary["iterations"]] or times != {len(trace.iterations)}:
        raise InvalidInput("trace.csv: its last rows are not there")
    if rows != {len(batch.runs)}:
        raise InvalidInput(f"trace.csv: {max(rows)} rows for {len(batch.runs)} runs")
    lost = {entry["seed"] for entry in summary.get("diverged", [])}
    found = list[Ended]()
    for row, run in enumerate(batch.runs):
        own, met = _until_met(trace, row, run.settings.tolerance)
        if met:
            status = "converged"
        elif row in lost:
            status = "diverged"
        else:  # where another one of the batch diverged
            status = "out-of-iterations" if summary["status"] == "diverged" else str(summary["status"])
        found.append(Ended(run, status, own, row))
    return found


def _until_met(trace: Trace, row: int, tolerance: float | None) -> tuple[Trace, bool]:
    """What a run would have measured alone: it stops where it meets its tolerance, its batch where the worst does."""
    if tolerance is None or not trace.metrics:
        return trace, False
    values = trace.metrics[about(trace.metrics, "regularized_exploitability")]
    first = next((i for i, x in enumerate(values) if float(x.reshape(-1)[row]) <= tolerance), None)
    if first is None:
        return trace, False
    return trace.only(lambda iteration: iteration <= trace.iterations[first]), True


def columns(runs: Sequence[Planned]) -> list[str]:
    """The header of the table: parameters stand between the solver and the seed."""
    given = dict.fromkeys(name for run in runs for name in run.varied)
    return [*COLUMNS[:3], *sorted(given), *differing(runs), *COLUMNS[3:]]


def differing(runs: Sequence[Planned]) -> list[str]:
    """The settings in which blocks differ: they are part of what a run is."""
    met = [plain_settings(run.settings) for run in runs]
    return [name for name in SETTINGS if len({str(settings[name]) for settings in met}) > 1]


def write_results(path: Path, runs: Sequence[Planned], found: Iterator[Ended]) -> None:
    """The table of everything that is finished, whole or not at all."""
    header, varying = columns(runs), differing(runs)

    def write(spare: Path) -> None:
        with spare.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
            writer.writeheader()
            for end in found:
                run = end.run
                own_settings = plain_settings(run.settings)
                start = {"run": run.name, "game": run.game, "solver": run.solver, **run.varied}
                start |= {name: "" if own_settings[name] is None else str(own_settings[name]) for name in varying}
                own = {key: quoted(text) for key, text in start.items()} | {"seed": run.seed, "status": end.status}
                for i, iteration in enumerate(end.trace.iterations):
                    for metric, values in end.trace.metrics.items():
                        value = repr(float(values[i].reshape(-1)[end.row]))
                        writer.writerow(own | {"iteration": iteration, "metric": metric, "value": value})

    write_with(path, write)
