"""What starting up and installing costs: processor time of commands in fresh interpreters, and bytes on disk.

Times are user and system time of a child process (getrusage), medians over `repeats` fresh interpreters, so that a busy
machine counts little. Sizes are of files: everything that the RECORD of a distribution lists and that is there, with
compiled bytecode left out, over the distributions that the requirements of gamesim reach from the metadata of what is
installed here. An extra counts what it adds to the base.
"""

import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from gamesim.benchmarks.sweeping import thousand
from gamesim.benchmarks.timing import Row, row

BAR = 0.15
"""Seconds of processor time that a command may take which only says something."""
LIGHT = {
    "gamesim --help": ("-m", "gamesim", "--help"),
    "gamesim --version": ("-m", "gamesim", "--version"),
    "gamesim list": ("-m", "gamesim", "list"),
    "import gamesim": ("-c", "import gamesim"),
}
HEAVY = (
    "torch", "numpy", "scipy", "cvxpy", "matplotlib", "gymnasium", "pettingzoo", "pandas", "pyarrow", "numba", "rich",
    "networkx", "ray", "optuna", "openai", "tensorboard", "mlflow", "wandb", "onnx", "safetensors",
)  # fmt: skip
HELD = f"""
import json, sys
from gamesim.cli import main
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:])
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def suite() -> Iterator[Row]:
    """Rows of `gamesim bench scale`."""
    yield from started_and_installed()
    yield from thousand()


def started_and_installed() -> Iterator[Row]:
    """Rows of `gamesim bench scale` about starting up and about disks."""
    for found in starting():
        heavy = f"; imports {', '.join(found['heavy'])}" if found.get("heavy") else ""
        bar = BAR if "bar" in found else None
        yield row(found["id"], found["seconds"], bar, bar and 1.0, f"s of processor time; the peer is the bar{heavy}")
    for found in sizes():
        note = f"MB in {found['distributions']} distributions"
        note += f"; not here: {', '.join(found['missing'])}" if found["missing"] else ""
        yield row(f"size of {found['id']}", found["megabytes"], None, None, note)


def processor_time(arguments: Sequence[str]) -> float:
    """Seconds of user and system time of one fresh interpreter, its own children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starting(repeats: int = 11) -> list[dict[str, Any]]:
    """The processor time of what only says something, with that of an interpreter that does nothing, in turn."""
    commands = {"python -c pass": ("-c", "pass"), **LIGHT}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, arguments in commands.items():
            times[name].append(processor_time(arguments))
    found = []
    for name, seconds in times.items():
        median = statistics.median(seconds)
        row: dict[str, Any] = {"id": name, "seconds": round(median, 4), "least": round(min(seconds), 4)}
        if name in LIGHT:
            row |= {"bar": BAR, "holds": median <= BAR}
        if name.startswith("gamesim "):
            row["heavy"] = held(name.split()[1:])
        found.append(row)
    seconds = [processor_time(("-m", "gamesim", "doctor")) for _ in range(3)]  # asks PyTorch, in a process of its own
    found.append({"id": "gamesim doctor", "seconds": round(statistics.median(seconds), 4), "heavy": held(["doctor"])})
    return found


def held(arguments: Sequence[str]) -> list[str]:
    """The heavy modules that a command has imported in its own process."""
    done = subprocess.run([sys.executable, "-c", HELD, *arguments], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def sizes(extras: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Megabytes and distributions of the base install, and of what each extra adds; None where it is not all here."""
    own = distribution("gamesim")
    extras = [x for x in own.metadata.get_all("Provides-Extra") or []] if extras is None else extras
    base, missing = reached(own, "")
    found = [_row("base", base, missing)]
    for extra in extras:
        more, missing = reached(own, extra)
        found.append(_row(extra, {name: d for name, d in more.items() if name not in base}, missing))
    return found


def reached(own: Distribution, extra: str) -> tuple[dict[str, Distribution], list[str]]:
    """The distributions that gamesim with an extra requires, itself included, and those that are not here."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found, missing = dict[str, Distribution](), list[str]()
    waiting, seen = [(own, x) for x in {"", extra}], set[tuple[str, str]]()
    while waiting:
        one, with_extra = waiting.pop()
        name = canonicalize_name(one.metadata["Name"])
        if (name, with_extra) in seen:
            continue
        seen.add((name, with_extra))
        found[name] = one
        for text in one.requires or []:
            needed = Requirement(text)
            if needed.marker is not None and not needed.marker.evaluate({"extra": with_extra}):
                continue
            try:
                there = distribution(needed.name)
            except PackageNotFoundError:
                missing.append(needed.name)
                continue
            waiting += [(there, x) for x in {"", *needed.extras}]
    return found, sorted(set(missing))


def size_of(one: Distribution) -> int:
    """Bytes of the files of a distribution, without compiled bytecode."""
    files = {Path(str(one.locate_file(file))).resolve() for file in one.files or [] if file.suffix != ".pyc"}
    return sum(path.stat().st_size for path in files if path.is_file())


def _row(name: str, parts: dict[str, Distribution], missing: Iterable[str]) -> dict[str, Any]:
    each = {part: size_of(one) for part, one in parts.items()}
    largest = sorted(each, key=lambda part: -each[part])[:3]
    return {
        "id": name,
        "megabytes": round(sum(each.values()) / 1e6, 1),
        "distributions": len(each),
        "largest": {part: round(each[part] / 1e6, 1) for part in largest},
        "missing": list(missing),
    }
