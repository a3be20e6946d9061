"""Files that were harmed between two commands: torn, cut, flipped, deleted. --resume makes the run whole again."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gamesim.benchmarks.faults.nursery import Nursery
from gamesim.benchmarks.faults.twins import Trial, Twin, Ward, resumed, spread
from gamesim.benchmarks.timing import Row
from gamesim.files import read_json
from gamesim.records import PREVIOUS, STATE, load_snapshot

Harm = Callable[[Path, random.Random], None]


def rows(ward: Ward, each: int = 20) -> Iterator[Row]:
    trials = [harmed(twin, torn) for twin in spread(each, ward.twins)]
    yield ward.row("damage/trace", trials, "runs whose trace was torn at a random byte, then --resume")
    harms: list[tuple[Harm, bool]] = [(cut(STATE), True), (flipped(STATE), True), (both, False)]
    trials = [harmed(twin, harm, back) for twin in spread(each, ward.twins) for harm, back in harms]
    yield ward.row("damage/state", trials, "runs with a cut or flipped state, or two of them, then --resume")
    trials = [
        deleted(twin, name)
        for twin in ward.twins.values()
        for name in sorted(p.name for p in twin.folder.iterdir() if p.is_file())
    ]
    yield ward.row("damage/deleted", trials, "finished runs that lost a file, then --resume")


def harmed(twin: Twin, harm: Harm, back: bool = False) -> Trial:
    """back: the state before must still load."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        if dice.random() < 0.5:
            nursery.run(twin.command(folder))
        else:
            nursery.run_and_kill(twin.command(folder), dice.uniform(0.3, 1) * twin.seconds)
        whole = (folder / PREVIOUS).is_file() and (folder / STATE).is_file()
        if whole:
            harm(folder, dice)
            if back and load_snapshot(folder, _every(twin)) is None:
                return ["the state before does not load"]
        return resumed(nursery, twin, folder)

    return trial


def _every(twin: Twin) -> Any:
    return read_json(twin.folder / "config.json")["every"]


def torn(folder: Path, dice: random.Random) -> None:
    path = folder / "trace.csv"
    data = path.read_bytes()
    path.write_bytes(data[: dice.randrange(len(data))])


def cut(name: str) -> Harm:
    def harm(folder: Path, dice: random.Random) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: dice.randrange(len(data))])

    return harm


def flipped(name: str) -> Harm:
    def harm(folder: Path, dice: random.Random) -> None:
        data = bytearray((folder / name).read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (folder / name).write_bytes(bytes(data))

    return harm


def both(folder: Path, dice: random.Random) -> None:
    for name in (STATE, PREVIOUS):
        dice.choice([cut, flipped])(name)(folder, dice)


def deleted(twin: Twin, name: str) -> Trial:
    """One file of a finished run is gone: it is made again, and without config.json a line says that it is no run."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        nursery.run(twin.command(folder))
        (folder / name).unlink()
        if name != "config.json":
            return [f"without {name}: {words}" for words in resumed(nursery, twin, folder)]
        ended = nursery.run(twin.command(folder, "--resume"))
        fine = ended.code == 2 and ended.in_a_line and "it has no config.json" in ended.said
        return [] if fine else [f"without {name}: exits with {ended.code}: {ended.said[-300:]}"]

    return trial
