"""The suite `fuzz`: ten thousand generated inputs, each taken or refused in a line; the defects among them are counted.

Each room is met by a process of its own with 4 GB of memory; a process that dies, or that is stuck for five minutes, is
a defect. `ours` is the number of defects, and the bar is none.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from gamesim.benchmarks.timing import Row, counted
from gamesim.errors import missing_extra

INPUTS = {
    "public classes": 1500,
    "catalogue": 2500,
    "files": 3200,
    "commands": 2500,
    "files by command": 300,
    "runs": 300,
    "processes": 200,
}
"""How many inputs each room is met with; what they are: `gamesim.benchmarks.fuzzing`."""
AT_ONCE = 2500  # inputs of one process
SECONDS = 3600


def suite(seed: int = 0) -> Iterator[Row]:
    """A row for each room, and one of all."""
    try:
        import hypothesis  # noqa: F401
    except ImportError:
        raise missing_extra("fuzz", "hypothesis", "hypothesis") from None
    total = dict.fromkeys(("inputs", "succeeded", "stopped", "refused", "defect"), 0)
    for room, count in INPUTS.items():
        found = dict.fromkeys(total, 0)
        told, megabytes, seconds = list[str](), 0, 0.0
        for part in range(0, count, AT_ONCE):
            met = meet(room, min(AT_ONCE, count - part), seed + part)
            for name in found:
                found[name] += met[name]
                total[name] += met[name]
            told += [f"{x['what']} <- {x['input']}" for x in met["defects"]]
            megabytes, seconds = max(megabytes, met["megabytes"]), seconds + met["seconds"]
        yield _row(
            f"fuzz/{room.replace(' ', '-')}", found, f"{seconds:.0f} s of CPU time, at most {megabytes} MB", told
        )
    yield _row("fuzz/all", total, "", [])


def meet(room: str, count: int, seed: int) -> Row:
    """What a process of its own says of so many inputs of a room."""
    command = [sys.executable, "-m", "gamesim.benchmarks.fuzzing.child", room, str(count), str(seed)]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    died = dict.fromkeys(("succeeded", "stopped", "refused"), 0) | {
        "inputs": 1,
        "defect": 1,
        "megabytes": 0,
        "seconds": 0.0,
    }
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=alone, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return died | {"defects": [{"what": f"no end after {SECONDS} s", "input": " ".join(command)}]}
    if done.returncode:
        words = " ".join(done.stderr.split())[-600:]
        return died | {"defects": [{"what": f"exit code {done.returncode}: {words}", "input": " ".join(command)}]}
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(id: str, found: Row, note: str, told: list[str]) -> Row:
    words = f"{found['inputs']:,} inputs: {found['succeeded']:,} succeeded, {found['refused']:,} refused"
    words += f", {found['stopped']:,} stopped" if found["stopped"] else ""
    words += f", {found['defect']:,} defects; {note}" if note else f", {found['defect']:,} defects"
    return counted(id, found["defect"], " | ".join([words, *told[:8]])) | {"figures": dict(found), "defects": told}
