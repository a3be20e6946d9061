"""The loop of a sweep: start batches, retry what died, take apart what raised, collect what is finished.

SWEEP/sweep.toml       the file, as it was
SWEEP/plan.json        every run, and the batch and row it is in
SWEEP/batches/NAME/    a run folder for each batch; `seed` in its trace counts the rows of the batch
SWEEP/logs/NAME.txt    what its workers said
SWEEP/results.csv      one tidy table
SWEEP/failures.json    what failed, why, and the command that does it alone
SWEEP/summary.json     what `gamesim sweep --json` prints
SWEEP/DONE             written last
"""

import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from gamesim.errors import Caution, refuse
from gamesim.files import Lock, own_folder, read_json, write_json, write_text
from gamesim.parameters import Bounds, convert
from gamesim.records import first_difference, versions
from gamesim.reporting import reporter_named
from gamesim.signals import Interrupted, Signals
from gamesim.sweeps.batches import Batch, batched
from gamesim.sweeps.board import Board, best
from gamesim.sweeps.design import read_plan
from gamesim.sweeps.engines import Engine, Event, engine_named
from gamesim.sweeps.pictures import figures_of
from gamesim.sweeps.plans import Plan, Planned
from gamesim.sweeps.results import Ended, ended, notes_of, write_results
from gamesim.sweeps.work import finished, folder_of, log_of

RETRIES = 3
"""How often a batch whose process or machine died is begun again."""
TICK = 1.0
"""Of the time between two looks so many seconds count as waited, at most: a sweep that was stopped has not listened."""
Seconds = Annotated[float, Bounds("a number of seconds of at least 1", 1)]


@dataclass
class UnderWay:
    """A batch that was started: how far it is, and for how long nothing was heard of it."""

    batch: Batch
    iteration: int = 0
    silent: float | None = None
    """Seconds; None until it has begun."""
    stalled: str = ""

    def hear(self, event: Event) -> None:
        self.iteration, self.silent = event.iteration, 0.0

    def wait(self, seconds: float, patience: float) -> bool:
        """Whether patience ends here."""
        if self.silent is None or self.stalled:
            return False
        self.silent += min(seconds, TICK)
        if self.silent > patience:
            self.stalled = f"stalled: nothing was measured for {patience:g} s after iteration {self.iteration}"
        return bool(self.stalled)

    @property
    def runs_done(self) -> float:
        """In runs."""
        return self.iteration / max(1, self.batch.runs[0].settings.iterations) * len(self.batch.runs)


@dataclass
class Progress:
    """Where a sweep is."""

    root: Path
    engine: Engine
    board: Board
    signals: Signals
    patience: float | None = None
    runs: list[Planned] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    found: dict[str, Ended] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    busy: dict[str, UnderWay] = field(default_factory=dict)

    def take_in(self, batch: Batch) -> None:
        """What of a batch is finished on disk."""
        for end in ended(self.root, batch):
            self.found[end.run.name] = end
            self.failures.pop(end.run.name, None)

    def show(self) -> None:
        under_way = sum(batch.runs_done for batch in self.busy.values())
        self.board.update(
            len(self.found) + under_way, len(self.failures), len(self.busy), list(self.found.values()), len(self.runs)
        )


def sweep(
    plan: Plan | Path | str, out: Path | str, engine: Engine | str = "local", *, workers: int | None = None,
    threads: int = 1, patience: float | None = None, resume: bool = False, show: bool = False,
    allow: Sequence[str] = (), log: Sequence[str] = (),
) -> tuple[dict[str, Any], int]:  # fmt: skip
    """Do every run of a plan, or of the TOML file that makes one, into the folder `out`.

    patience: seconds without a measure after which a batch is killed and taken apart; None waits for ever.
    allow: classes that the file may name, `module:Class`; log: tools that are told, as of `gamesim run`.
    Returns the summary and the exit code: 0, 1 if a run failed or diverged, 130 or 143 if it was interrupted.
    """
    for text in log:
        reporter_named(text)
    patience = require_patience(patience)
    plan = plan if isinstance(plan, Plan) else read_plan(Path(plan), allow)
    engine = engine_named(engine, workers=workers, threads=threads) if isinstance(engine, str) else engine
    out = own_folder(Path(out))
    lock = Lock(out)
    started = time.perf_counter()
    board = Board(len(plan.runs), show)
    try:
        _open(out, plan, resume)
        with Signals() as signals:
            now = Progress(out, engine, board, signals, patience)
            try:
                for wave in _waves(plan, now, log):
                    _carry_out(now, wave, threads)
                    if signals.caught:
                        break
            except Interrupted:
                pass
            finally:
                engine.close()
                board.close()
        return _close(now, plan, time.perf_counter() - started)
    finally:
        board.close()
        lock.release()


def require_patience(patience: float | None) -> float | None:
    """Refuse seconds that are none."""
    return None if patience is None else convert(patience, Seconds, "patience")


def _open(out: Path, plan: Plan, resume: bool) -> None:
    taken = sorted(p.name for p in out.iterdir() if p.name != ".lock" and not p.name.endswith(".tmp"))
    if taken and not resume:
        wanted = (
            f"an absent or empty folder (it holds {taken[0]}); add --resume to continue that sweep, or name another"
        )
        raise refuse("out", str(out), wanted)
    if taken and "plan.json" not in taken and set(taken) != {"sweep.toml"}:
        raise refuse("out", str(out), "the folder of a sweep to resume: it has no plan.json")
    if "plan.json" in taken:
        before = read_json(out / "plan.json")
        if not isinstance(before, dict) or not isinstance(before.get("asked"), list):
            raise refuse("out", str(out), "the folder of a sweep to resume: its plan.json is none of gamesim's")
        now = {"asked": plan.plain(), "tune": plan.tune}
        for key, value in now.items():
            if before.get(key) != value:
                where = first_difference(key, _by_name(before.get(key)), _by_name(value))
                raise refuse("resume", where, "the file that the sweep began with, or another folder")
    (out / "DONE").unlink(missing_ok=True)
    for spare in (*out.glob(".*.tmp"), *(out / "figures").rglob(".*.tmp")):  # of a process that was killed
        spare.unlink(missing_ok=True)
    write_text(out / "sweep.toml", plan.text)
    write_json(out / "plan.json", {"asked": plan.plain(), "tune": plan.tune, "versions": versions()})


def _by_name(asked: Any) -> Any:
    return {str(run.get("run")): run for run in asked if isinstance(run, dict)} if isinstance(asked, list) else asked


def _waves(plan: Plan, now: Progress, log: Sequence[str]) -> Iterator[list[Batch]]:
    """The batches to be done: all at once, or as a tuner asks for them, who has seen what the last ones gave."""
    if plan.tune is None:
        yield _known(now, plan.runs, batched(plan.runs, log=log))
        return
    from gamesim.sweeps.tuning import trials

    for i, runs in enumerate(trials(plan, now.found)):
        yield _known(now, runs, batched(runs, prefix=f"t{i:04d}-", log=log))


def _known(now: Progress, runs: Sequence[Planned], batches: list[Batch]) -> list[Batch]:
    """Batches that the sweep knows of from here on; those finished on disk are taken in, the others returned."""
    now.runs += runs
    now.batches += batches
    for batch in batches:
        now.take_in(batch)
    return [batch for batch in batches if any(run.name not in now.found for run in batch.runs)]


def _carry_out(now: Progress, batches: Sequence[Batch], threads: int) -> None:
    """Until nothing is left to do, or somebody wants it to end."""
    waiting = deque(batches)
    if waiting:
        now.engine.open(now.root, threads)
    stopping, looked = False, time.monotonic()
    while now.busy or (waiting and not now.signals.caught):
        while waiting and len(now.busy) < now.engine.slots and not now.signals.caught:
            batch = waiting.popleft()
            now.engine.start(batch)
            now.busy[batch.name] = UnderWay(batch)
        if now.signals.caught and not stopping:
            stopping = True
            now.engine.stop()
        for event in now.engine.wait(0.25):
            if event.end is None:
                now.busy[event.batch.name].hear(event)
            else:
                stalled = now.busy.pop(event.batch.name).stalled
                waiting.extendleft(reversed(_left_of(now, event, stalled)))
        looked, before = time.monotonic(), looked
        for under_way in now.busy.values():
            if now.patience is not None and under_way.wait(looked - before, now.patience):
                now.engine.end(under_way.batch)
        now.show()


def _left_of(now: Progress, event: Event, stalled: str) -> list[Batch]:
    """What is to be started for a batch that has ended: nothing, itself once more, or each of its runs alone."""
    batch = event.batch
    if event.end == "done" and finished(folder_of(now.root, batch)):
        now.take_in(batch)
        return []
    if event.end in ("failed", "refused"):
        return _taken_apart(now, batch, event.error)
    if now.signals.caught or (event.end == "interrupted" and not stalled):
        return []  # it was told to end
    if stalled:
        return _taken_apart(now, batch, stalled)
    if now.lost.get(batch.name, 0) < RETRIES:
        now.lost[batch.name] = now.lost.get(batch.name, 0) + 1
        return [batch]
    return _taken_apart(now, batch, event.error)


def _taken_apart(now: Progress, batch: Batch, error: str) -> list[Batch]:
    """The runs of a batch that failed, each alone; of one that was alone, nothing, and it is said why."""
    if len(batch.runs) > 1:
        return [part for part in batch.alone() if not finished(folder_of(now.root, part))]
    run = batch.runs[0]
    log = str(log_of(now.root, batch))
    now.failures[run.name] = {"run": run.name, "error": error, "command": run.command, "log": log}
    return []


def _close(now: Progress, plan: Plan, seconds: float) -> tuple[dict[str, Any], int]:
    """Collect: the table, the failures, the summary and, if everything was done, DONE."""
    found = [now.found[run.name] for run in now.runs if run.name in now.found]
    write_json(
        now.root / "plan.json",
        {"asked": plan.plain(), "tune": plan.tune, "versions": versions()}
        | {"batches": {b.name: [run.name for run in b.runs] for b in now.batches}},
    )
    write_results(now.root / "results.csv", now.runs, iter(found))
    failures = [now.failures[run.name] for run in now.runs if run.name in now.failures]
    diverged = [end.run for end in found if end.status == "diverged"]
    failures += [
        {"run": run.name, "error": "diverged: lower the step size, or raise the temperature", "command": run.command}
        for run in diverged
    ]
    write_json(now.root / "failures.json", failures)
    missing = len(now.runs) - len(found) - len(now.failures)
    status = "failed" if now.failures else "diverged" if diverged else "done"
    status = "interrupted" if now.signals.caught else status
    summary = {
        "sweep": str(now.root), "runs": len(now.runs), "done": len(found), "diverged": len(diverged),
        "failed": len(now.failures), "missing": missing, "batches": len(now.batches),
        "status": status, "notes": notes_of(now.root),
        "best": best(found), "failures": failures, "results": str(now.root / "results.csv"),
        "seconds": round(seconds, 3),
    }  # fmt: skip
    write_json(now.root / "summary.json", summary)
    if now.signals.caught:
        return summary, 128 + now.signals.caught
    try:
        summary["figures"] = figures_of(now.root) if found else []
    except Exception as error:  # the numbers are there
        summary["figures"] = []
        words = f"no figures: {type(error).__name__}: {error}; gamesim draw {now.root} makes them again"
        warnings.warn(words, Caution, stacklevel=2)
    write_json(now.root / "summary.json", summary)
    write_text(now.root / "DONE", f"{len(found)} of {len(now.runs)} runs\n")
    return summary, int(bool(failures))
