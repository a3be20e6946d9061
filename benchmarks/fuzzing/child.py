"""A process of its own that meets so many inputs of one room, with bounded memory; one line of JSON on stdout.

    python -m gamesim.benchmarks.fuzzing.child ROOM COUNT SEED [GB]

The line has the inputs by verdict, each defect with the input that shows it, seconds of CPU time, and the peak of the
memory in MB, those of the processes that it starts among them.
"""

import contextlib
import faulthandler
import json
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamesim.benchmarks.fuzzing import trials
from gamesim.benchmarks.fuzzing.sandbox import Sandbox
from gamesim.benchmarks.fuzzing.trials import Outcome

Judge = Callable[[Any], Outcome]
KEPT = 40  # defects that are told
WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
HUNG = 300  # seconds: whoever is stuck in compiled code is ended, with its place


def meet(room: str, count: int, seed: int | None, folder: Path) -> dict[str, Any]:
    """The figures of so many inputs of a room; without a seed they are the same ones each time."""
    import hypothesis

    strategy, judge, words = ROOMS[room](folder)
    verdicts, defects = Counter[str](), dict[str, tuple[str, str]]()
    started = _seconds()

    @hypothesis.settings(
        max_examples=count,
        derandomize=seed is None,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def each(found: Any) -> None:
        faulthandler.dump_traceback_later(HUNG, exit=True)
        outcome = judge(found)
        faulthandler.cancel_dump_traceback_later()
        verdicts[outcome.verdict] += 1
        if outcome.verdict == "defect":
            place = outcome.words.partition(": ")[0] + outcome.words.rpartition(" ")[2]
            defects.setdefault(place, (outcome.words, words(found)))

    if seed is not None:
        each = hypothesis.seed(seed)(each)
    each()
    return {
        "room": room,
        "inputs": verdicts.total(),
        **{v: verdicts[v] for v in ("succeeded", "stopped", "refused", "defect")},
        "defects": [{"what": what, "input": said} for what, said in list(defects.values())[:KEPT]],
        "seconds": round(_seconds() - started, 2),
        "megabytes": max(resource.getrusage(whose).ru_maxrss for whose in WHOSE) // 1024,
    }


def _seconds() -> float:
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, WHOSE))


def _commands(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from gamesim.benchmarks.fuzzing.commands import command_lines

    sandbox = _sandbox(folder)
    return command_lines(), sandbox.command, repr


def _runs(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from gamesim.benchmarks.fuzzing.commands import game_and_solver

    sandbox = _sandbox(folder)
    return game_and_solver(), sandbox.command, repr


def _processes(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from hypothesis import strategies as st

    from gamesim.benchmarks.fuzzing.commands import command_lines, game_and_solver

    sandbox = _sandbox(folder)
    halves = command_lines(), game_and_solver()  # most of the first are refused, and `one_of` hardly takes the second
    return st.sampled_from(halves).flatmap(lambda half: half), sandbox.process, repr


def _files(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from gamesim.benchmarks.fuzzing.changes import broken
    from gamesim.benchmarks.fuzzing.files import READERS, read

    sandbox = _sandbox(folder)
    readers = {name: [reader for reader, names in READERS.items() if name in names] for name in _names(READERS)}

    def judge(found: tuple[str, bytes]) -> Outcome:
        name, data = found
        file = sandbox.folder / name
        file.write_bytes(data)
        outcomes = [read(reader, file) for reader in readers.get(name, [])]
        file.write_bytes((sandbox.pristine / name).read_bytes())
        return min(outcomes, key=lambda x: ("defect", "refused", "stopped", "succeeded").index(x.verdict))

    strategy = broken(sandbox.pristine).filter(lambda found: bool(readers.get(found[0])))
    return strategy, judge, lambda found: f"{found[0]}: {found[1][:1500]!r}"


def _files_by_command(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from hypothesis import strategies as st

    from gamesim.benchmarks.fuzzing.changes import broken
    from gamesim.benchmarks.fuzzing.files import COMMANDS

    sandbox = _sandbox(folder)

    def judge(found: tuple[tuple[str, bytes], int]) -> Outcome:
        (name, data), which = found
        sandbox.put(name, data)
        return sandbox.command(COMMANDS[name][which % len(COMMANDS[name])])

    strategy = st.tuples(broken(sandbox.pristine).filter(lambda found: found[0] in COMMANDS), st.integers(0, 5))
    return strategy, judge, lambda found: f"{found[0][0]} ({found[1]}): {found[0][1][:1500]!r}"


def _catalogued(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from gamesim.benchmarks.fuzzing.constructors import catalogued
    from gamesim.benchmarks.fuzzing.constructors import meet as judge

    return catalogued(), judge, lambda made: str(made[0])


def _public(folder: Path) -> tuple[Any, Judge, Callable[[Any], str]]:
    from gamesim.benchmarks.fuzzing.constructors import meet as judge
    from gamesim.benchmarks.fuzzing.constructors import public

    return public(), judge, lambda made: str(made[0])


def _names(readers: dict[str, tuple[str, ...]]) -> list[str]:
    return sorted({name for names in readers.values() for name in names})


def _sandbox(folder: Path) -> Sandbox:
    from gamesim.benchmarks.fuzzing.files import whole

    pristine = folder / "pristine"
    pristine.mkdir()
    whole(pristine)
    return Sandbox(pristine, folder / "work")


ROOMS: dict[str, Callable[[Path], tuple[Any, Judge, Callable[[Any], str]]]] = {
    "commands": _commands,
    "runs": _runs,
    "processes": _processes,
    "files": _files,
    "files by command": _files_by_command,
    "catalogue": _catalogued,
    "public classes": _public,
}


def bounded(gigabytes: float) -> None:
    """No more memory than this for the process: what asks for more is told so."""
    size = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def main(room: str, count: int, seed: int, gigabytes: float = trials.GIGABYTES) -> None:
    import torch

    torch.set_num_threads(1)
    bounded(gigabytes)
    home = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="gamesim-fuzz-") as folder, contextlib.redirect_stdout(sys.stderr):
        os.chdir(folder)
        found = meet(room, count, seed, Path(folder))
        os.chdir(home)
    print(json.dumps(found))


if __name__ == "__main__":
    trials.CPU_SECONDS = float(os.environ.get("GAMESIM_FUZZ_SECONDS", trials.CPU_SECONDS))
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))
