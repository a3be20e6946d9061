"""A disturbed run and its undisturbed twin: what must be equal, what must be readable at any moment, and who counts.

A trial is a function (nursery, folder, dice) that disturbs one run and returns what is wrong, in words; nothing if all
is well. Its dice are a function of the suite's seed, its part and its number.
"""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from gamesim.benchmarks.faults.nursery import Nursery
from gamesim.benchmarks.timing import Row, counted
from gamesim.errors import InvalidInput
from gamesim.files import read_json
from gamesim.records import BEST, PREVIOUS, load_best, load_snapshot, read_hashes, read_trace

SEED = 20261
Trial = Callable[[Nursery, Path, random.Random], list[str]]

NOISY = "graphon/sis gmfg-ppo -g positions=3 -g horizon=3 -s feedback=noisy(0.1) --seeds 2 --every 3"
BANDIT = "matrix/shapley ftrl -s feedback=bandit(power(0.5,0.4)) --seeds 4 --every log --average --start random"
RECORDED = (
    "sets/offline bc -g behaviour=expert -g episodes=10 -g evaluation_episodes=2 "
    "-s network=deep-sets(width=4) -s batch_size=8 --every 2"
)
REINFORCE = "stochastic/two-state policy-gradient -s feedback=reinforce"
ARMS = "bandits/bernoulli thompson --seeds 3 --every 5"
PLACES = ("run", "sweep", "results", "command", "seconds", "figures")
"""Facts in summaries and configurations that are about where and how fast."""
COMMANDS = {
    "noisy": (NOISY, 18), "bandit": (BANDIT, 60), "recorded": (RECORDED, 8), "reinforce": (REINFORCE, 12),
    "arms": (ARMS, 25),
}  # fmt: skip
"""Commands by name, and for how many iterations: exact and sampled, stepping and leaping, one and many seeds, a best
policy kept beside the last."""


@dataclass(frozen=True)
class Twin:
    """An undisturbed run: its command, where it is, how long it took, and its operations on files, in order."""

    arguments: tuple[str, ...]
    folder: Path
    seconds: float
    operations: list[tuple[str, str]]

    def command(self, folder: Path, *more: str) -> list[str]:
        return ["run", *self.arguments, "--json", "--out", str(folder), *more]


class Ward:
    """Nurseries, one for each core that is used, and the twins; runs trials and counts what is wrong."""

    def __init__(
        self, names: Sequence[str] = tuple(COMMANDS), *, nurseries: int | None = None, seed: int = SEED
    ) -> None:
        self.seed, self.names = seed, names
        self._width = nurseries or min(2, os.cpu_count() or 1)
        self._opened = ExitStack()
        self._free: SimpleQueue[Nursery] = SimpleQueue()
        self.twins: dict[str, Twin] = {}

    def __enter__(self) -> "Ward":
        self.room = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="gamesim-faults-")))
        self.room.chmod(0o755)  # some children are another user
        commands = {name: [*text.split(), "--iterations", str(n)] for name, (text, n) in COMMANDS.items()}
        nurseries = [
            self._opened.enter_context(Nursery([commands[name] for name in self.names])) for _ in range(self._width)
        ]
        for name in self.names:
            self.twins[name] = undisturbed(nurseries[0], commands[name], self.room / f"twin-{name}")
        for nursery in nurseries:
            self._free.put(nursery)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def wrong(self, part: str, trials: Iterable[Trial]) -> tuple[int, list[str]]:
        """Run trials; how many there were, and what was wrong, each with the number of its trial."""

        def one(number: int, trial: Trial) -> list[str]:
            folder = self.room / f"{part}-{number}"
            nursery = self._free.get()
            try:
                found = trial(nursery, folder, random.Random(f"{self.seed}/{part}/{number}"))
            finally:
                self._free.put(nursery)
            shutil.rmtree(folder, ignore_errors=True)
            return [f"trial {number}: {words}" for words in found]

        listed = list(trials)
        with ThreadPoolExecutor(self._width) as pool:
            found = list(pool.map(one, range(len(listed)), listed))
        return len(listed), [words for each in found for words in each]

    def row(self, part: str, trials: Iterable[Trial], what: str) -> Row:
        """`ours` is the number of trials that went wrong; the bar is none."""
        count, found = self.wrong(part.replace("/", "-"), trials)
        note = "; ".join([f"{count} {what}", f"seed {SEED}", *found[:1]])
        return counted(f"faults/{part}", len({words.split(":")[0] for words in found}), note)


def undisturbed(nursery: Nursery, arguments: Sequence[str], folder: Path) -> Twin:
    """The twin: run twice, once to time it and once to list its operations."""
    twin, log = Twin(tuple(arguments), folder, 0.0, []), folder.with_suffix(".log")
    listed = folder.with_name(f"{folder.name}-listed")
    first = nursery.run(twin.command(folder))
    second = nursery.run(twin.command(listed), under=str(listed), log=str(log))
    if first.code or second.code or differences(listed, folder):
        raise RuntimeError(f"an undisturbed run went wrong: {first.said or second.said or differences(listed, folder)}")
    operations = [(operation, name) for operation, name in map(json.loads, log.read_text().splitlines())]
    return Twin(twin.arguments, folder, first.seconds, operations)


def differences(found: Path, twin: Path) -> list[str]:
    """Names of files that differ from the twin's: all but the state before the last one and facts of the process."""
    own = {PREVIOUS, "manifest.json", ".lock"}
    names = {str(p.relative_to(x)) for x in (found, twin) for p in x.rglob("*") if p.is_file() and p.name not in own}
    return sorted(name for name in names if _content(found / name) != _content(twin / name))


def _content(path: Path) -> Any:
    if not path.is_file():
        return None
    if path.name in ("summary.json", "config.json"):
        return {k: v for k, v in read_json(path).items() if k not in PLACES}
    return path.read_bytes()


def unreadable(folder: Path, twin: Path, landed: bool = False) -> list[str]:
    """What of a run that was stopped cannot be read: all of it must be whole, or absent.

    landed: whether a state is known to have been saved, so that one must load.
    """
    found = list[str]()
    if not (folder / "config.json").is_file():
        return found
    every = read_json(twin / "config.json")["every"]
    snapshots = list[Any]()
    readers: Mapping[str, Callable[[Path], object]] = {
        "config.json": read_json, "manifest.json": read_json, "summary.json": read_json,
        "trace.csv": lambda path: read_trace(path.parent), BEST: lambda path: load_best(path.parent),
    }  # fmt: skip
    try:
        for name, read in readers.items():
            if (folder / name).is_file():
                read(folder / name)
        if (folder / "trace.csv").is_file():
            snapshots.append(load_snapshot(folder, every))
        landed = landed or len(read_hashes(folder)) > 1  # the second is named when the first has landed
    except (InvalidInput, OSError) as error:
        found.append(f"unreadable: {error}")
    if landed and snapshots in ([], [None]):
        found.append("a state that was saved is lost")
    if (folder / "DONE").is_file():
        found += [f"DONE, and {name} is not as it should be" for name in differences(folder, twin)]
    return found


def resumed(nursery: Nursery, twin: Twin, folder: Path, **mischief: Any) -> list[str]:
    """What is wrong after --resume: it must end well, leave the twin's bits, and sweep up."""
    ended = nursery.run(twin.command(folder, "--resume"), **mischief)
    if ended.code:
        return [f"--resume exits with {ended.code}: {ended.said.strip()[-500:]}"]
    left = [p.name for p in folder.rglob(".*tmp*")]
    return [f"{name} differs" for name in differences(folder, twin.folder)] + [f"{name} is left" for name in left]


def spread(count: int, twins: Mapping[str, Twin]) -> Iterator[Twin]:
    """So many twins, in turn."""
    listed = list(twins.values())
    for i in range(count):
        yield listed[i % len(listed)]
