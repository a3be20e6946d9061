"""Files that survive a crash: atomic writes, locks, checked names, strict JSON.

A write is a temporary file, fsync, rename, fsync of the folder: a reader sees the old file or the new one, whole.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gamesim.errors import InvalidInput, refuse
from gamesim.parameters import plain

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FAILED = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors of the machine, whatever name was typed."""
MOST = 200 * 10**6
"""Bytes of a JSON file that is read, at most."""
REPLACED = "the folder was removed or replaced while a process wrote to it"
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def require_name(name: str, field: str = "name") -> str:
    """A run's name: letters, digits, dot, dash and underscore, at most 100; no path parts, no reserved names."""
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise refuse(
            field, name, "a name of at most 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    return name


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then put it in place of `path` at once.

    A folder that is replaced by another of its name meanwhile is left alone: the file was meant for the first.
    """
    with naming(path):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            os.close(handle)
            spare = Path(temporary)
            try:
                write(spare)
                with spare.open("rb+") as f:
                    os.fsync(f.fileno())
                spare.chmod(0o644)
                if not os.path.samestat(spare.stat(), os.stat(spare.name, dir_fd=folder)):
                    raise OSError(errno.ESTALE, REPLACED)
                os.replace(spare.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                spare.unlink(missing_ok=True)
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What the system refuses inside is said of this file: an error of a write or a sync knows no name, or a spare one.

    >>> with naming(Path("a.txt")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'a.txt'
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and not str(error.filename).endswith(".tmp")):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text(path: Path, text: str) -> None:
    write_with(path, lambda spare: _fill(spare, text))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def to_json(data: Any) -> str:
    """Strict JSON: numbers that are not finite become null."""
    return json.dumps(plain(data), indent=2, allow_nan=False)


def write_json(path: Path, data: Any) -> None:
    write_text(path, to_json(data) + "\n")


def read_json(path: Path) -> Any:
    """Strict JSON: no duplicate keys, no NaN, bounded depth; a bad file is the user's to mend, not a traceback."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    def no_constant(text: str) -> Any:
        raise ValueError(f"{text} is not a number")

    try:
        if path.exists() and not path.is_file():  # a pipe would block, a device never end
            raise OSError("no regular file")
        if path.stat().st_size > MOST:
            raise OSError(f"larger than {MOST:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except FileNotFoundError:
        raise InvalidInput(f"{path}: no such file; is this the folder of a run?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not a JSON file that gamesim wrote ({error})") from None


def fingerprint(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def own_folder(path: Path, field: str = "out") -> Path:
    """Make a folder that can be written to, or refuse it in a line; links and names with path parts are refused."""
    require_name(path.absolute().name, f"{field} (its last part)")
    if path.is_symlink():
        raise refuse(field, str(path), "a folder, not a link")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(prefix=".", suffix=".tmp", dir=path):  # seen by others on some file systems
            pass
    except FileExistsError:
        raise refuse(field, str(path), "a folder; a file of that name is in the way") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, OSError) and error.errno in FAILED:  # the path is fine
            raise OSError(error.errno, reason, str(path)) from None
        raise refuse(field, str(path), f"a folder that can be written to ({reason})") from None
    return path


class Lock:
    """An exclusive lock on a folder, held by this process until released; a second process is refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / ".lock"
        self._new = not self._path.exists()
        taken = refuse("out", str(folder), "a folder that no other gamesim process is writing to now")
        try:
            self._file = self._path.open("a")
        except FileNotFoundError:  # another process made the folder, and took it away again
            raise taken from None
        try:
            with naming(self._path):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise taken from None
        except BaseException:  # a disk without locks, Ctrl-C: nothing stays open
            self._file.close()
            raise
        if not self.held:  # it was removed meanwhile
            self._file.close()
            raise taken

    @property
    def held(self) -> bool:
        """Whether the folder's lock is still this one: not if somebody removed the folder, or put another there."""
        try:
            return not self._file.closed and os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def require(self) -> None:
        """Stop a process whose folder is gone, before it writes into one that may be another's by now."""
        if not self.held:
            raise OSError(errno.ESTALE, REPLACED, str(self._folder))

    def release(self, remove: bool = False) -> None:
        """Let go; with `remove` the file that this lock made goes, too, while it is still held."""
        if remove and self._new and self.held:
            self._path.unlink(missing_ok=True)
        self._file.close()
