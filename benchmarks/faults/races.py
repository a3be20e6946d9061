"""Two processes and one folder, processes that are stopped, clocks that jump, folders that go."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from gamesim.benchmarks.faults.nursery import KILLED, Ended, Nursery
from gamesim.benchmarks.faults.twins import Trial, Twin, Ward, differences, resumed, spread, unreadable
from gamesim.benchmarks.timing import Row


def rows(ward: Ward, races: int = 100, resumes: int = 20, others: int = 20) -> Iterator[Row]:
    trials = [race(twin) for twin in spread(races, ward.twins)]
    yield ward.row("races", trials, "races of two processes for one new folder: one wins, the other exits with 2")
    trials = [race_to_resume(twin) for twin in spread(resumes, ward.twins)]
    yield ward.row("races/resume", trials, "killed runs that three processes resume at once")
    trials = [stopped(twin) for twin in spread(others, ward.twins)]
    yield ward.row("stopped", trials, "runs stopped and continued, refusing a second process meanwhile")
    trials = [jumping(twin) for twin in spread(others, ward.twins)]
    yield ward.row("clock", trials, "runs whose clocks jump back and forth by days, killed, then --resume")
    trials = [removed(twin, anew) for twin in spread(others, ward.twins) for anew in (False, True)]
    yield ward.row("removed", trials, "runs whose folder is removed under them, or is another run's by then")


def refused(ended: Ended) -> bool:
    """In a line, with exit code 2."""
    return ended.code == 2 and ended.in_a_line and "error: out:" in ended.said


def race(twin: Twin) -> Trial:
    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        first = nursery.begin(twin.command(folder))
        time.sleep(dice.choice([0, dice.uniform(0, 0.02), dice.uniform(0, 1.1 * twin.seconds)]))
        ended = [nursery.wait(pid) for pid in (first, nursery.begin(twin.command(folder)))]
        won, lost = sorted(ended, key=lambda end: end.code)
        if won.code or not refused(lost):
            return [f"exit codes {[end.code for end in ended]}: {' | '.join(end.said[-300:] for end in ended)}"]
        return [f"{name} differs" for name in differences(folder, twin.folder)]

    return trial


def race_to_resume(twin: Twin) -> Trial:
    """Whoever comes first does it; who comes while it is at it is refused; who comes later finds nothing to do."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        nursery.run_and_kill(twin.command(folder), dice.uniform(0, 0.9) * twin.seconds)
        ended = [nursery.wait(pid) for pid in [nursery.begin(twin.command(folder, "--resume")) for _ in range(3)]]
        found = [f"exits with {end.code}: {end.said[-300:]}" for end in ended if end.code and not refused(end)]
        if all(end.code for end in ended):
            found.append("nobody won")
        return found + [f"{name} differs" for name in differences(folder, twin.folder)]

    return trial


def stopped(twin: Twin) -> Trial:
    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        pid, found = nursery.begin(twin.command(folder)), list[str]()
        for _ in range(3):
            time.sleep(dice.uniform(0, 0.4) * twin.seconds)
            nursery.signal(pid, signal.SIGSTOP)
            if (folder / "config.json").exists():
                second = nursery.run(twin.command(folder, *dice.choice([(), ("--resume",)])))
                if not refused(second) and not (folder / "DONE").exists():
                    found.append(f"the second exits with {second.code}: {second.said[-300:]}")
            nursery.signal(pid, signal.SIGCONT)
        ended = nursery.wait(pid)
        found += [f"exits with {ended.code}: {ended.said[-300:]}"] if ended.code else []
        return found + [f"{name} differs" for name in differences(folder, twin.folder)]

    return trial


def jumping(twin: Twin) -> Trial:
    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        mad = {"clock": dice.randrange(2**31), "checkpoint_every": 10.0}
        ended = nursery.run_and_kill(twin.command(folder), dice.uniform(0.2, 1) * twin.seconds, **mad)
        found = [] if ended.code in (0, KILLED) else [f"exits with {ended.code}: {ended.said[-300:]}"]
        found += unreadable(folder, twin.folder)
        return found or resumed(nursery, twin, folder, **mad)

    return trial


def removed(twin: Twin, anew: bool) -> Trial:
    """The folder goes while a run writes there; `anew`: another run, of other settings, has taken the name by then."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        pid = nursery.begin(twin.command(folder))
        time.sleep(dice.uniform(0.1, 0.8) * twin.seconds)
        nursery.signal(pid, signal.SIGSTOP)
        if not (folder / "trace.csv").exists() or (folder / "DONE").exists():  # too early or too late to hurt
            nursery.signal(pid, signal.SIGCONT)
            nursery.wait(pid)
            return []
        shutil.rmtree(folder)
        other = dict[Path, bytes]()
        if anew:
            nursery.run([*twin.command(folder), "--seed", "7"])
            other = files(folder)
        nursery.signal(pid, signal.SIGCONT)
        ended = nursery.wait(pid)
        found = list[str]()
        if (ended.code != 1 or not ended.in_a_line) and not (ended.code == 0 and (folder / "DONE").exists()):
            found.append(f"exits with {ended.code}: {ended.said[-500:]}")
        if anew and files(folder) != other:
            changed = sorted(p.name for p in files(folder).keys() | other if files(folder).get(p) != other.get(p))
            found.append(f"it wrote into the other run's folder: {', '.join(changed)}")
        if not anew:
            found += resumed(nursery, twin, folder)
        return found

    return trial


def files(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
