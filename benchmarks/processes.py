"""Processes of this machine, as /proc has them: which there are, what they hold, how large they are, and their end."""

import os
import signal
from pathlib import Path


def processes() -> list[int]:
    """All but this one."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]


def holding(path: str) -> list[int]:
    """Those with a file open whose name begins so; a folder ends with /."""
    return [pid for pid in processes() if any(name.startswith(path) for name in opened(pid))]


def marked(mark: str) -> list[int]:
    """Those that were started, not forked, with this line, NAME=VALUE, in their environment."""
    return [pid for pid in processes() if mark.encode() in read(pid, "environ").split(b"\0")]


def opened(pid: int) -> list[str]:
    """The files that it has open."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def words_of(pid: int) -> list[str]:
    """Its command and what was typed behind it."""
    return read(pid, "cmdline").decode(errors="replace").split("\0")


def is_running(pid: int) -> bool:
    """Whether it is neither gone nor waiting to be reaped."""
    return b") Z" not in read(pid, "stat") and Path(f"/proc/{pid}").exists()


def megabytes(pid: int) -> float:
    """Its proportional share of memory (PSS): pages that several processes share count in parts."""
    line = next((x for x in read(pid, "smaps_rollup").splitlines() if x.startswith(b"Pss:")), b"Pss: 0")
    return int(line.split()[1]) / 1024


def kill(pid: int) -> bool:
    """kill -9; whether it was still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def read(pid: int, name: str) -> bytes:
    """A file of a process; nothing if it is gone, or not ours to read."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
