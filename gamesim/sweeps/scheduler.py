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
from typing import Any

from gamesim.errors import Caution, refuse
from gamesim.files import Lock, own_folder, read_json, write_json, write_text
from gamesim.records import first_difference, versions
from gamesim.reporting import reporter_named
from gamesim.signals import Interrupted, Signals
from gamesim.sweeps.batches import Batch, batched
from gamesim.sweeps.board import Board, best
from gamesim.sweeps.design import read_plan
from gamesim.sweeps.engines import Engine, engine_named
from gamesim.sweeps.pictures import figures_of
from gamesim.sweeps.plans import Plan, Planned
from gamesim.sweeps.results import Ended, ended, notes_of, write_results
from gamesim.sweeps.work import finished, folder_of, log_of

RETRIES = 3
"""How often a batch whose process or machine died is begun again."""


@dataclass
class Progress:
    """Where a sweep is."""

    root: Path
    engine: Engine
    board: Board
    signals: Signals
    runs: list[Planned] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    found: dict[str, Ended] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    at: dict[str, float] = field(default_factory=dict)

    def take_in(self, batch: Batch) -> None:
        """What of a batch is finished on disk."""
        for end in ended(self.root, batch):
            self.found[end.run.name] = end
            self.failures.pop(end.run.name, None)

    def show(self) -> None:
        under_way = sum(self.at.values())
        self.board.update(
            len(self.found) + under_way, len(self.failures), len(self.at), list(self.found.values()), len(self.runs)
        )


def sweep(
    plan: Plan | Path | str, out: Path | str, engine: Engine | str = "local", *, workers: int | None = None,
    threads: int = 1, resume: bool = False, show: bool = False, allow: Sequence[str] = (), log: Sequence[str] = (),
) -> tuple[dict[str, Any], int]:  # fmt: skip
    """Do every run of a plan, or of the TOML file that makes one, into the folder `out`.

    allow: classes that the file may name, `module:Class`; log: tools that are told, as of `gamesim run`.
    Returns the summary and the exit code: 0, 1 if a run failed or diverged, 130 or 143 if it was interrupted.
    """
    for text in log:
        reporter_named(text)
    plan = plan if isinstance(plan, Plan) else read_plan(Path(plan), allow)
    engine = engine_named(engine, workers=workers, threads=threads) if isinstance(engine, str) else engine
    out = own_folder(Path(out))
    lock = Lock(out)
    started = time.perf_counter()
    board = Board(len(plan.runs), show)
    try:
        _open(out, plan, resume)
        with Signals() as signals:
            now = Progress(out, engine, board, signals)
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
    waiting, busy = deque(batches), dict[str, Batch]()
    if waiting:
        now.engine.open(now.root, threads)
    stopping = False
    while busy or (waiting and not now.signals.caught):
        while waiting and len(busy) < now.engine.slots and not now.signals.caught:
            batch = waiting.popleft()
            now.engine.start(batch)
            busy[batch.name], now.at[batch.name] = batch, 0.0
        if now.signals.caught and not stopping:
            stopping = True
            now.engine.stop()
        for event in now.engine.wait(0.25):
            batch = event.batch
            if event.end is None:
                share = event.iteration / max(1, batch.runs[0].settings.iterations)
                now.at[batch.name] = share * len(batch.runs)
                continue
            busy.pop(batch.name, None)
            now.at.pop(batch.name, None)
            if event.end == "done" and finished(folder_of(now.root, batch)):
                now.take_in(batch)
            elif event.end == "lost" and now.signals.caught:
                pass  # it died while it was told to end
            elif event.end in ("lost", "done") and now.lost.get(batch.name, 0) < RETRIES:
                now.lost[batch.name] = now.lost.get(batch.name, 0) + 1
                waiting.appendleft(batch)
            elif event.end != "interrupted":
                waiting.extendleft(reversed(_taken_apart(now, batch, event.error)))
        now.show()


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
