"""Disks that are full, broken or not ours: one line, exit 1 (2 where the folder was wrong at first), nothing lost."""

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gamesim.benchmarks.faults.kills import chosen, landed
from gamesim.benchmarks.faults.nursery import Ended, Nursery
from gamesim.benchmarks.faults.twins import Trial, Twin, Ward, resumed, spread, unreadable
from gamesim.benchmarks.timing import Row

NOBODY = 65534
ROOMY = "size=64M,nr_inodes=10000"


def rows(ward: Ward, points: int = 12, sizes: int = 40, others: int = 10) -> Iterator[Row]:
    """points: operations of each command that fail, each in four ways; sizes: of real disks; others: of the rest."""
    ways = [(error, lasting) for error in ("ENOSPC", "EIO") for lasting in (False, True)]
    trials = [
        failing(twin, n, error, lasting)
        for twin in ward.twins.values()
        for n in chosen(len(twin.operations), points)
        for error, lasting in ways
    ]
    yield ward.row("disk/injected", trials, "runs with ENOSPC or EIO at an operation, once or from there on, --resume")
    trials = [limited(twin, 200 + 150 * i) for i, twin in enumerate(spread(sizes, ward.twins))]
    yield ward.row("disk/limit", trials, "runs with a limit on the size of a file, then --resume without")
    if mountable():
        disks = [f"size={4 + 4 * i}k" for i in range(sizes)] + [f"size=1M,nr_inodes={2 + i}" for i in range(others)]
        trials = [small(twin, disk) for twin, disk in zip(spread(len(disks), ward.twins), disks, strict=True)]
        yield ward.row("disk/full", trials, "runs on a small tmpfs, full by bytes or files, made larger, --resume")
    trials = [locked_up(twin) for twin in spread(others, ward.twins)]
    yield ward.row("disk/read-only", trials, "runs into a read-only folder, or one that becomes so, then --resume")


def failed(ended: Ended, code: int, words: str, folder: Path) -> list[str]:
    """What is wrong with how a run failed: the exit code, one line that says what and where."""
    if ended.code == code and ended.in_a_line and words in ended.said and str(folder) in ended.said:
        return []
    return [f"exits with {ended.code}, not {code} and a line with {words!r}: {ended.said.strip()[-600:]}"]


def failing(twin: Twin, n: int, error: str, lasting: bool) -> Trial:
    """Operation n fails, or all from there on."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        ended = nursery.run(twin.command(folder), under=str(folder), at=n, what=error, lasting=lasting)
        found = failed(ended, 1, os.strerror(getattr(errno, error)), folder)
        found += unreadable(folder, twin.folder, landed(twin, n))
        where = f"{error} {'from' if lasting else 'at'} {n} {twin.operations[n - 1]}"
        return [f"{where}: {words}" for words in found or resumed(nursery, twin, folder)]

    return trial


def limited(twin: Twin, size: int) -> Trial:
    """No file may be larger than `size` bytes: the system itself refuses the write, in whatever library it happens."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        ended = nursery.run(twin.command(folder), file_size=size)
        found = failed(ended, 1, os.strerror(errno.EFBIG), folder) if ended.code else []
        found += unreadable(folder, twin.folder)
        return [f"{size} bytes: {words}" for words in found or resumed(nursery, twin, folder)]

    return trial


def small(twin: Twin, options: str) -> Trial:
    """A real file system that is too small, and later is not."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        with mounted(folder, options) as disk:
            ended = nursery.run(twin.command(disk / "run"))
            found = failed(ended, 1, os.strerror(errno.ENOSPC), disk) if ended.code else []
            found += unreadable(disk / "run", twin.folder)
            subprocess.run(["mount", "-o", f"remount,{ROOMY}", str(disk)], check=True)
            return [f"{options}: {words}" for words in found or resumed(nursery, twin, disk / "run")]

    return trial


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def mountable() -> bool:
    """Whether small file systems can be made here."""
    import tempfile

    if os.geteuid() or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as here:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", here], capture_output=True, check=False
        )
        return done.returncode == 0 and subprocess.run(["umount", here], check=False).returncode == 0


def locked_up(twin: Twin) -> Trial:
    """Folders without the right to write: from the start, and from some moment on; the user is not root."""

    def trial(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        user = None if os.geteuid() else NOBODY
        folder.mkdir()
        if user is not None:
            os.chown(folder, user, user)
        folder.chmod(0o555)
        ended = nursery.run(twin.command(folder / "run"), user=user)
        found = failed(ended, 2, os.strerror(errno.EACCES), folder)
        found += ["something was made there"] if list(folder.iterdir()) else []
        folder.chmod(0o755)
        pid = nursery.begin(twin.command(folder / "run"), user=user)
        time.sleep(dice.uniform(0.1, 0.9) * twin.seconds)
        nursery.signal(pid, signal.SIGSTOP)
        there = (folder / "run").is_dir()
        if there:
            (folder / "run").chmod(0o555)
        nursery.signal(pid, signal.SIGCONT)
        ended = nursery.wait(pid)
        if ended.code and there:
            if ended.code not in (1, 2) or not ended.in_a_line or os.strerror(errno.EACCES) not in ended.said:
                found.append(f"exits with {ended.code}: {ended.said.strip()[-600:]}")
            ended = nursery.run(twin.command(folder / "run", "--resume"), user=user)
            found += failed(ended, 2, os.strerror(errno.EACCES), folder)
        if there:
            (folder / "run").chmod(0o755)
        found += unreadable(folder / "run", twin.folder)
        return found or resumed(nursery, twin, folder / "run", user=user)

    return trial
