"""kill -9 of sweeps: the scheduler, its workers, and with Ray the driver, workers and a node.

After --resume every run is there once, the table and every batch have the bits of an undisturbed sweep, and ten seconds
after the last kill no process of the sweep is left.
"""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gamesim.benchmarks.faults.nursery import KILLED, Nursery
from gamesim.benchmarks.faults.study import RUNS, STUDY
from gamesim.benchmarks.faults.twins import Trial, Ward, differences
from gamesim.benchmarks.processes import holding, is_running, kill, marked, words_of
from gamesim.benchmarks.timing import Row
from gamesim.files import read_json, write_text

PATIENCE = 10.0
"""Seconds after which no process of a sweep that was killed may be left."""


def rows(ward: Ward, kills: int = 100, workers: int = 20, cold: int = 10, ray: int = 50) -> Iterator[Row]:
    """kills: of the scheduler; workers: sweeps whose workers are killed; ray: kills of drivers, half as many others.

    cold: kills of schedulers that start a fork server of their own; the others share one that has everything imported.
    """
    twin = Undisturbed(ward)
    trials = [scheduler_killed(twin, "local") for _ in range(kills)]
    yield ward.row("sweeps/scheduler", trials, f"kills of the scheduler of {RUNS} runs, then --resume")
    trials = [scheduler_killed(twin, "local", shared=False) for _ in range(cold)]
    yield ward.row("sweeps/start", trials, "the same, with the processes that it starts itself")
    trials = [worker_killed(twin, "local") for _ in range(workers)]
    yield ward.row("sweeps/workers", trials, "sweeps of which workers are killed, and that go on by themselves")
    if ray and find_spec("ray") is not None:
        trials = [scheduler_killed(twin, "ray", shared=False) for _ in range(ray)]
        yield ward.row("sweeps/ray/driver", trials, "kills of the driver on Ray, then --resume")
        trials = [worker_killed(twin, "ray") for _ in range((ray + 1) // 2)]
        yield ward.row("sweeps/ray/workers", trials, "sweeps on Ray of which a worker is killed")
        trials = [node_killed(twin) for _ in range((ray + 1) // 2)]
        yield ward.row("sweeps/ray/node", trials, "kills of the node's raylet, then --resume")


class Undisturbed:
    """The sweep that nobody disturbed, and how long it took."""

    def __init__(self, ward: Ward) -> None:
        self.file, self.folder = ward.room / "study.toml", ward.room / "study"
        write_text(self.file, STUDY)

        def once(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
            nursery.run(self.command(folder, "local"), forkserver="shared")  # which starts the server
            ended = nursery.run(self.command(self.folder, "local"), forkserver="shared")
            self.seconds = ended.seconds
            return [ended.said] if ended.code else []

        wrong = ward.wrong("study", [once])[1]
        if wrong:
            raise RuntimeError(f"an undisturbed sweep went wrong: {wrong[0]}")

    def command(self, folder: Path, engine: str) -> list[str]:
        own = ["--workers", "2", "--json", "--resume", "--out", str(folder)]
        return ["sweep", str(self.file), "--engine", engine, *own]


def scheduler_killed(twin: Undisturbed, engine: str, shared: bool = True) -> Trial:
    """Killed at a random moment of the whole sweep; resumed at once, or after its processes have ended."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        mischief: dict[str, Any] = {"forkserver": "shared" if shared else str(folder)}
        seconds = twin.seconds if shared else twin.seconds + (10 if engine == "ray" else 3)
        for attempt in range(20):
            ended = nursery.run_and_kill(
                twin.command(folder, engine), dice.random() * seconds * 0.9**attempt, **mischief
            )
            if ended.code != 0:
                break
            shutil.rmtree(folder)  # it was over by then
        time.sleep(
            0.5 if shared else 0
        )  # the shared server may be dying of this kill; one of a sweep's own dies anyway
        found = [] if ended.code == KILLED else [f"exits with {ended.code}: {ended.said.strip()[-500:]}"]
        if dice.random() < 0.5:
            found += orphans(folder)
        return found + resumed(nursery, twin, folder, engine, mischief) + orphans(folder)

    return trial


def worker_killed(twin: Undisturbed, engine: str) -> Trial:
    """Two workers die, or one; the sweep begins their batches again and ends well."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        mischief: dict[str, Any] = {"forkserver": "shared" if engine == "local" else str(folder)}

        def strike(pid: int, share: float) -> int:
            kills, until = 0, time.monotonic() + 60
            while kills < 2 and time.monotonic() < until and is_running(pid):
                time.sleep(dice.uniform(0, 0.3) * share * twin.seconds)
                at_work = [worker for worker in holding(f"{folder}/logs/") if worker != pid]
                if at_work:
                    kills += kill(dice.choice(at_work))
            return kills

        pid, wrong = struck(nursery, twin.command(folder, engine), folder, mischief, strike)
        if pid is None:
            return wrong
        ended = nursery.wait(pid)
        found = [f"exits with {ended.code}: {ended.said.strip()[-500:]}"] if ended.code else []
        return found + compared(twin, folder) + orphans(folder)

    return trial


def node_killed(twin: Undisturbed) -> Trial:
    """The raylet of a cluster of one node dies, and with it every worker."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        mischief = {"forkserver": str(folder)}

        def strike(pid: int, share: float) -> int:
            until = time.monotonic() + 60
            while time.monotonic() < until and is_running(pid) and not holding(f"{folder}/logs/"):
                time.sleep(0.05)
            time.sleep(dice.uniform(0, 0.5) * share * twin.seconds)
            mine = marked(f"GAMESIM_FAULTS={folder}")
            return sum(kill(p) for p in mine if "raylet/raylet" in words_of(p)[0].split(" ")[0])

        pid, wrong = struck(nursery, twin.command(folder, "ray"), folder, mischief, strike)
        if pid is None:
            return wrong
        time.sleep(dice.uniform(0, 2))
        nursery.signal(pid, signal.SIGTERM)  # a cluster of one node does not come back
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and is_running(pid):
            time.sleep(0.1)
        found = [] if not is_running(pid) else ["the driver hangs after its node died"]
        if found:
            nursery.signal(pid, signal.SIGKILL)
        nursery.wait(pid)
        return found + resumed(nursery, twin, folder, "ray", mischief) + orphans(folder)

    return trial


def struck(
    nursery: Nursery, command: list[str], folder: Path, mischief: dict[str, Any], strike: Callable[[int, float], int]
) -> tuple[int | None, list[str]]:
    """A sweep under way of which a process was killed, after other sweeps that were over before anything was.

    strike: kills, within a share of the usual time, and says how many. Without such a sweep, what was wrong.
    """
    for attempt in range(20):
        pid = nursery.begin(command, **mischief)
        if strike(pid, 0.8**attempt):
            return pid, []
        ended = nursery.wait(pid)
        if ended.code:
            return None, [f"exits with {ended.code}, undisturbed: {ended.said.strip()[-500:]}"]
        shutil.rmtree(folder)
    return None, ["nothing was killed in time"]


def resumed(nursery: Nursery, twin: Undisturbed, folder: Path, engine: str, mischief: dict[str, Any]) -> list[str]:
    ended = nursery.run(twin.command(folder, engine), **mischief)
    if ended.code:
        return [f"--resume exits with {ended.code}: {ended.said.strip()[-800:]}"]
    return compared(twin, folder)


def compared(twin: Undisturbed, folder: Path) -> list[str]:
    """Every run once, nothing failed, every file as the undisturbed sweep has it."""
    found = [f"{name} differs" for name in differences(folder, twin.folder) if not name.startswith("logs/")]
    plan = read_json(folder / "plan.json")["batches"] if (folder / "plan.json").exists() else {}
    runs = [run for batch in plan.values() for run in batch]
    if len(runs) != RUNS or len(set(runs)) != RUNS:
        found.append(f"{len(runs)} runs, of which {len(set(runs))} differ, are planned, not {RUNS}")
    return found


def orphans(folder: Path) -> list[str]:
    """What is left of a sweep after ten seconds; it stands in the environment of what the sweep starts."""
    until = time.monotonic() + PATIENCE
    while left := {*holding(f"{folder}/"), *marked(f"GAMESIM_FAULTS={folder}")}:
        if time.monotonic() > until:
            words = [f"{pid} {' '.join(words_of(pid))[:100]!r}" for pid in left]
            for pid in left:
                kill(pid)
            return [f"left after {PATIENCE:g} s: {', '.join(words)}"]
        time.sleep(0.05)
    return []
