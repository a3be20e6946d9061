"""kill -9 of single runs: at random moments, and before each single operation on a file."""

import random
from collections.abc import Iterator
from pathlib import Path

from gamesim.benchmarks.faults.nursery import KILLED, Nursery
from gamesim.benchmarks.faults.twins import Trial, Twin, Ward, resumed, spread, unreadable
from gamesim.benchmarks.timing import Row

LANDED = ("rename", ".state.safetensors")
"""The operation by which a state is in its place."""


def rows(ward: Ward, kills: int = 200, points: int | None = None) -> Iterator[Row]:
    """kills: at random moments; points: operations of each command at which it is killed, all of them by default."""
    trials = [at_random(twin) for twin in spread(kills, ward.twins)]
    yield ward.row("kills/random", trials, "runs killed at a random moment, a quarter of them twice, then --resume")
    trials = [at_operation(twin, n) for twin in ward.twins.values() for n in chosen(len(twin.operations), points)]
    yield ward.row("kills/operations", trials, "runs killed before one operation on a file, then --resume")


def chosen(count: int, points: int | None) -> list[int]:
    """Which of operations 1, ..., count: all, or so many at equal distances."""
    if points is None or points >= count:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / max(1, points - 1)) for i in range(points)})


def at_random(twin: Twin) -> Trial:
    """A moment of the whole run, or of its first or last quarter; kills that come too late are tried again."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        found, kills = list[str](), 2 if dice.random() < 0.25 else 1
        low, high = dice.choice([(0, 1), (0, 1), (0, 0.25), (0.75, 1)])
        whole = twin.seconds
        for _ in range(40):
            after = dice.uniform(low, high) * whole
            ended = nursery.run_and_kill(twin.command(folder, "--resume"), after)
            if ended.code not in (0, KILLED):
                found.append(f"exits with {ended.code}: {ended.said.strip()[-500:]}")
            found += unreadable(folder, twin.folder)
            kills -= ended.code == KILLED
            if not kills or found:
                break
            if ended.code == 0:  # over before it could be killed: it takes less than was thought, and what is left, too
                whole = 0.8 * min(whole, ended.seconds)
        else:
            found.append("it was never killed in time")
        return found or resumed(nursery, twin, folder, figures=False)

    return trial


def at_operation(twin: Twin, n: int) -> Trial:
    """Killed before the n-th operation: every window between two of them is met."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        ended = nursery.run(twin.command(folder), under=str(folder), at=n)
        if ended.code != KILLED:
            return [f"not killed at operation {n}: exits with {ended.code}: {ended.said.strip()[-500:]}"]
        found = unreadable(folder, twin.folder, landed(twin, n))
        return [f"operation {n} {twin.operations[n - 1]}: {words}" for words in found or resumed(nursery, twin, folder)]

    return trial


def landed(twin: Twin, n: int) -> bool:
    """Whether a state is in its place before operation n."""
    return any((operation, name[: len(LANDED[1])]) == LANDED for operation, name in twin.operations[: n - 1])
