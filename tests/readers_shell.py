"""A reader's terminal: bash runs the shell lines of a page, and each `gamesim` is a fork of one process.

The process has imported everything, so that a command costs what it does and not the seconds of its imports. A command
is asked for by a small program that stands first on the path: it sends its words, folder, environment and files through
a socket, waits for the exit code, and writes both down. Whoever starts the command and goes away takes it along.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from gamesim.benchmarks.faults.nursery import live, preload

ROOT = Path(__file__).parent.parent
MESSAGE = 1 << 20
LIMIT = 900.0
"""Seconds that one command may take."""
GAMESIM = """
import json, os, socket, sys, time

folder, start = os.environ["READER_FOLDER"], time.monotonic()
record = os.open(folder + "/record", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
said = os.open(f"{folder}/{os.getpid()}.err", os.O_WRONLY | os.O_CREAT)
words = sys.argv[1:]


def note(**told):
    os.write(record, (json.dumps({"pid": os.getpid(), **told}) + "\\n").encode())


note(words=words)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
    line.connect(os.environ["READER_LINE"])
    line.settimeout(float(os.environ["READER_LIMIT"]))
    asked = {"words": words, "cwd": os.getcwd(), "environ": dict(os.environ)}
    socket.send_fds(line, [json.dumps(asked).encode()], [0, 1, said])
    try:
        code = int(line.recv(16) or b"137")
    except TimeoutError:
        code = 124
note(code=code, seconds=time.monotonic() - start)
sys.exit(code)
"""
PYTHON = """
case "$1 $2" in
    "-m gamesim") shift 2; exec gamesim "$@" ;;
    "-m pytest") set -- "$@" --collect-only ;;
    tests/mutation*) set -- "$@" --list ;;
    tests/golden_traces.py*) set -- "-m" py_compile "$1" ;;
    *) exec "{python}" "$@" ;;
esac
cd "{root}" && "{python}" "$@" >/dev/null || echo python "$@" >&2
"""
OTHERS = {
    "python": PYTHON,
    "make": '"{make}" --dry-run -C "{root}" "$@" >/dev/null || echo make "$@" >&2',
    "tensorboard": '"{python}" -m tensorboard.main --inspect "$@" >/dev/null 2>&1 || echo tensorboard "$@" >&2',
    "pip": "exit 0",
    "listening": """"{python}" -IS -c 'import socket; socket.create_connection(("127.0.0.1", '$1'))' 2>/dev/null""",
}
"""What else pages call. make and programs of tests say what they would do, tensorboard looks at the logs and leaves,
and pip does nothing; and whether a server is there yet."""


@dataclass(frozen=True)
class Command:
    """A `gamesim ...` that bash came to: its words, exit code (None: still going when bash was done) and stderr."""

    words: tuple[str, ...]
    code: int | None
    seconds: float
    said: str

    def __str__(self) -> str:
        return f"gamesim {' '.join(self.words)}: exit {self.code} after {self.seconds:.1f} s: {self.said[-500:]}"


@dataclass(frozen=True)
class Ran:
    """A script: its commands in the order in which they began, what they printed, and stderr of what else ran."""

    commands: list[Command]
    printed: str
    said: str


class Shell:
    """Runs scripts; what it keeps of them is in a folder."""

    def __init__(self, folder: Path) -> None:
        self._address, self._bin, self._folder, self._count = folder / "line", folder / "bin", folder, 0
        self._bin.mkdir()
        for name, text in OTHERS.items():
            here = {"python": sys.executable, "make": shutil.which("make"), "root": ROOT}
            self._write(name, "#!/bin/sh\n" + text.format(**here))
        self._write("gamesim", f"#!{sys.executable} -IS\n{GAMESIM}")
        paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from readers_shell import serve; serve()", str(self._address)],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.read(1), "the process that commands are forks of did not start"

    def __enter__(self) -> "Shell":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _write(self, name: str, text: str) -> None:
        path = self._bin / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def run(self, script: str, cwd: Path, limit: float = LIMIT) -> Ran:
        """Until bash is done; what it left in the background is killed then, and a command after `limit` seconds."""
        self._count += 1
        own = self._folder / str(self._count)
        own.mkdir()
        environment = os.environ | {
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "READER_FOLDER": str(own),
            "READER_LINE": str(self._address),
            "READER_LIMIT": str(limit),
        }
        with (own / "stdout").open("wb") as printed, (own / "stderr").open("wb") as said:
            bash = subprocess.Popen(
                ["/bin/bash", "--noprofile", "--norc", "-c", script],
                cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=said, start_new_session=True,
            )  # fmt: skip
            try:
                bash.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(bash.pid, signal.SIGKILL)
        found = commands(own / "record")
        text = (own / "stdout").read_text(errors="replace") + "".join(c.said for c in found)
        return Ran(found, text, (own / "stderr").read_text(errors="replace"))


def commands(record: Path) -> list[Command]:
    """What was written down."""
    begun, ended = dict[int, list[str]](), dict[int, dict[str, float]]()
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    for line in lines:
        told = json.loads(line)
        if "words" in told:
            begun[told["pid"]] = told["words"]
        else:
            ended[told["pid"]] = told
    found = []
    for pid, words in begun.items():
        said, end = record.parent / f"{pid}.err", ended.get(pid, {})
        code = end.get("code")
        text = said.read_text(errors="replace") if said.exists() else ""
        found.append(Command(tuple(words), None if code is None else int(code), end.get("seconds", 0.0), text))
    return found


def serve() -> None:
    """The process that commands are forks of; it writes a byte when it is ready."""
    preload()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(sys.argv[1])
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    threading.Thread(target=_end_with_the_tests, daemon=True).start()
    os.write(1, b"r")
    while True:
        line, _ = listener.accept()
        if os.fork() == 0:
            live(partial(_prepare, line), lambda code: line.send(str(code).encode()))  # noqa: B023  a fork has one
        line.close()


def _end_with_the_tests() -> None:
    """However they end: what bash has yet to do then fails at once."""
    sys.stdin.buffer.read()
    os._exit(0)


def _prepare(line: socket.socket) -> list[str]:
    """Take the place, the environment and the files of who asks, and go when it goes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, _, _ = socket.recv_fds(line, MESSAGE, 3)
    asked = json.loads(message)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.path[0] = ""
    threading.Thread(target=_end_with, args=[line], daemon=True).start()
    words: list[str] = asked["words"]
    sys.argv = ["gamesim", *words]
    return words


def _end_with(line: socket.socket) -> None:
    line.recv(1)  # nothing is ever sent: it is closed, with the program that asked
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)
    os._exit(143)
