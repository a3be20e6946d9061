"""What may happen to a process, done to it from inside: a disk that fails at the n-th operation, a mad clock, limits.

Operations are counted on files below one folder only: making and opening a file, each write, sync, rename, removal and
new folder, in Python and by safetensors. At the n-th the process is killed, or the operation fails with the system's
error; of a write that fails, or during which it is killed, half of the bytes are left.
"""

import builtins
import errno
import importlib
import io
import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

AT_ONCE = -1.0


def install(
    *,
    figures: bool = False,
    checkpoint_every: float = AT_ONCE,
    under: str | None = None,
    at: int | None = None,
    what: str = "kill",
    lasting: bool = False,
    log: str | None = None,
    clock: int | None = None,
    user: int | None = None,
    file_size: int | None = None,
    forkserver: str | None = None,
) -> None:
    """Spoil this process.

    figures, checkpoint_every: whether runs draw, and seconds between saved states (a tenth of a second is long here).
    under, at, what, lasting: at operation `at` below the folder, `what` is "kill", or the name of an error as "ENOSPC";
        lasting: all operations after it fail, too, but removals.
    log: a file for the list of operations [operation, file], written as they happen.
    clock: a seed by which time.time and time.monotonic jump back and forth.
    user: a user's number to become; file_size: the largest size of a file, in bytes.
    forkserver: for sweeps, "shared" to take the nursery's server of forks, else a mark for the processes it starts.
    """
    if forkserver == "shared":
        share_forkserver()
    elif forkserver is not None:
        start_no_forkserver(forkserver)
        return
    from gamesim import running
    from gamesim.records import Record

    Record.__init__.__kwdefaults__["checkpoint_every"] = checkpoint_every  # type: ignore[index]
    if not figures:
        running.draw, running.save = lambda folder: None, lambda figure, folder, name: [folder]  # type: ignore
    if clock is not None:
        _spoil_clock(random.Random(clock))
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if under is not None:
        _spoil_disk(Disk(Path(under), at, what, lasting, log))


def start_forkserver() -> None:
    """A server of forks that has everything imported, for the sweeps of many children."""
    _server().set_forkserver_preload(["gamesim.sweeps.local", "gamesim.benchmarks.faults.warmed"])
    _server().ensure_running()


def start_no_forkserver(mark: str) -> None:
    """Forget the nursery's server; what is started from here on has the mark in its environment."""
    os.environ["GAMESIM_FAULTS"] = mark
    server = _server()
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def share_forkserver() -> None:
    """Take the server that this process's parent has started: a child may not wait for it, so it does not ask."""
    _server().ensure_running = lambda: None
    _server().set_forkserver_preload = lambda names: None


def _server() -> Any:
    return getattr(importlib.import_module("multiprocessing.forkserver"), "_forkserver")  # noqa: B009  private


def _spoil_clock(dice: random.Random) -> None:
    real, offset = {name: getattr(time, name) for name in ("time", "monotonic")}, [0.0]

    def jumping(name: str) -> Callable[[], float]:
        def now() -> float:
            if dice.random() < 0.3:
                offset[0] = dice.uniform(-1e6, 1e6)
            return float(real[name]()) + offset[0]

        return now

    for name in real:
        setattr(time, name, jumping(name))


class Disk:
    """Counts operations, and says which of them fails."""

    def __init__(self, under: Path, at: int | None, what: str, lasting: bool, log: str | None) -> None:
        self.under, self.at, self.what, self.lasting = str(under), at, what, lasting
        self.count, self.log = 0, None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def meets(self, operation: str, path: Any, halfway: Callable[[], object] = lambda: None) -> None:
        """An operation begins: it may fail now, `halfway` done, or be the process's last."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if not os.path.abspath(os.fspath(path)).startswith(self.under):
            return
        self.count += 1
        if self.log is not None:
            os.write(self.log, (json.dumps([operation, os.path.basename(os.fspath(path))]) + "\n").encode())
        if self.at is None or self.count < self.at or (self.count > self.at and not self.lasting):
            return
        if self.count > self.at and operation == "unlink":
            return
        halfway()
        if self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.what)
        raise OSError(number, os.strerror(number), None if operation in ("write", "fsync") else os.fspath(path))


def _spoil_disk(disk: Disk) -> None:
    import safetensors

    library: Any = importlib.import_module("safetensors.torch")

    def before(operation: str, call: Any) -> Any:
        def spoiled(path: Any, *more: Any, **named: Any) -> Any:
            beside = named.get("src_dir_fd")  # a name within an open folder
            disk.meets(operation, path if beside is None else f"{os.readlink(f'/proc/self/fd/{beside}')}/{path}")
            return call(path, *more, **named)

        return spoiled

    for name in ("fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "chmod"):
        setattr(os, name, before({"replace": "rename", "remove": "unlink"}.get(name, name), getattr(os, name)))
    open_descriptor, open_file, serialize = os.open, io.open, library.serialize_file

    def opened_descriptor(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            disk.meets("open", path)
        return open_descriptor(path, flags, *more, **named)

    class Raw(io.FileIO):
        failing: OSError | None = None

        def write(self, data: Any) -> Any:
            """As the system does it: what fits is written and counted, the rest is refused when it is tried again."""
            failing, self.failing = self.failing, None
            if failing is not None:
                raise failing
            half = bytes(data)[: len(data) // 2]
            try:
                disk.meets("write", self.fileno(), lambda: super(Raw, self).write(half) if disk.what == "kill" else 0)
            except OSError as error:
                if not half:
                    raise
                self.failing = error
                return super().write(half)
            return super().write(data)

    def opened_file(
        file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        if not set(mode) & set("wax+"):
            return open_file(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):
            disk.meets("open", file)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)

    def serialized(tensors: Any, path: Any, metadata: Any = None) -> None:
        def halfway() -> None:
            data = library.serialize(tensors, metadata)
            Path(path).write_bytes(data[: len(data) // 2])

        try:
            disk.meets("write", path, halfway)
        except OSError as error:
            raise safetensors.SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from None
        serialize(tensors, path, metadata)

    os.open = opened_descriptor
    io.open = builtins.open = opened_file
    library.serialize_file = serialized
