"""Runs that are born quickly, to be killed: forks of one process that has imported everything and run each once.

A fork starts in milliseconds where a process would import torch for seconds, so hundreds of kills fit into minutes, and
a random moment falls as often on the start of a run or its last writes as on its iterations.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from gamesim.benchmarks.faults.mischief import install, start_forkserver

PROGRAM = "from gamesim.benchmarks.faults.nursery import serve; serve()"
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code, minus the signal that killed it, and what it said on stderr."""

    code: int
    said: str
    seconds: float

    @property
    def in_a_line(self) -> bool:
        """Whether it said what was wrong in one line and nothing else, notes aside."""
        lines = [line for line in self.said.splitlines() if line and not line.startswith("note: ")]
        return len(lines) == 1 and lines[0].startswith("error: ")


class Nursery:
    """A process of its own whose forks are commands of gamesim; `warm` are commands that it runs once itself."""

    def __init__(self, warm: Sequence[Sequence[str]] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gamesim-nursery-")
        self._born: dict[int, tuple[Path, float]] = {}
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        )  # fmt: skip
        for i, arguments in enumerate(warm):
            self._ask(warm=["run", *arguments, "--json", "--out", f"{self._folder.name}/warm{i}"])

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in list(self._born):
            self.signal(pid, signal.SIGKILL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._folder.cleanup()

    def begin(self, arguments: Sequence[str], **mischief: Any) -> int:
        """Start a command of gamesim; `mischief` is what `install` takes. Returns the process's number."""
        self._count += 1
        said = Path(self._folder.name) / f"{self._count}.txt"
        pid = int(self._ask(arguments=list(arguments), said=str(said), mischief=mischief))
        self._born[pid] = said, time.monotonic()
        return pid

    def signal(self, pid: int, number: int) -> None:
        """Send a signal; a child that is over stays unreaped until `wait`, so the number is still its own."""
        os.kill(pid, number)

    def wait(self, pid: int) -> Ended:
        code = int(self._ask(wait=pid))
        said, started = self._born.pop(pid)
        text = said.read_text(errors="replace") if said.exists() else ""  # it may have been killed before it had one
        said.unlink(missing_ok=True)
        return Ended(code, text, time.monotonic() - started)

    def run(self, arguments: Sequence[str], **mischief: Any) -> Ended:
        return self.wait(self.begin(arguments, **mischief))

    def run_and_kill(self, arguments: Sequence[str], after: float, **mischief: Any) -> Ended:
        """Kill it so many seconds after its birth, if it is not over by then."""
        pid = self.begin(arguments, **mischief)
        time.sleep(after)
        self.signal(pid, signal.SIGKILL)
        return self.wait(pid)

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the nursery's process died; its last words stand above")
        return json.loads(answer)


def preload() -> None:
    """Import, once for all forks, what any command may, and leave the processor's other threads to others."""
    import torch

    torch.set_num_threads(1)
    import gamesim.records
    from gamesim import cli, running
    from gamesim.sweeps import local

    assert cli, (running, local)
    gamesim.records.versions()


def live(prepare: Callable[[], Sequence[str]], ended: Callable[[int], object] = lambda code: None) -> NoReturn:
    """A fork's whole life: prepare, which says what it is to do, do it, and tell the exit code."""
    code = 70  # of a defect
    try:
        arguments = prepare()
        from gamesim import cli

        code = cli.main(arguments)
        sys.stdout.flush()
    except BaseException:  # a fork has nobody above it who would say so
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        ended(code)
        os._exit(code)


def serve() -> None:
    """The nursery's process: a question a line on stdin, an answer a line on stdout, until stdin ends."""
    preload()
    import gamesim.records
    from gamesim import cli

    found = gamesim.records.commit()
    gamesim.records.commit = lambda: found  # git, once
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        question: Mapping[str, Any] = json.loads(line)
        if question.get("mischief", {}).get("forkserver") == "shared":
            start_forkserver()  # anew, where it died of a client that was killed while it asked
        if "warm" in question:
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                answer = cli.main(question["warm"])
            if answer:
                sys.stderr.write(said.getvalue())
        elif "wait" in question:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                live(partial(_prepare, **question))
        answers.write(f"{answer}\n")
        answers.flush()


def _prepare(arguments: list[str], said: str, mischief: dict[str, Any]) -> list[str]:
    sys.stdin.close()
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o666), 2)
    install(**mischief)
    return arguments
