"""Files that survive a crash: atomic writes, locks, checked names, strict JSON.

A write is a temporary file, fsync, rename, fsync of the folder: a reader sees the old file or the new one, whole.
"""

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gamesim.errors import InvalidInput, refuse
from gamesim.parameters import plain

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def require_name(name: str, field: str = "name") -> str:
    """A run's name: letters, digits, dot, dash and underscore, at most 100; no path parts, no reserved names."""
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise refuse(
            field, name, "a name of at most 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    return name


def write_with(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file, then put it in place of `path` at once."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    spare = Path(temporary)
    try:
        write(spare)
        with spare.open("rb+") as f:
            os.fsync(f.fileno())
        spare.chmod(0o644)
        spare.replace(path)
    finally:
        spare.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise refuse(field, str(path), "a folder; a file of that name is in the way") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise refuse(field, str(path), f"a folder that can be written to ({reason})") from None
    return path


class Lock:
    """An exclusive lock on a folder, held by this process until released; a second process is refused."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._new = not self._path.exists()
        self._file = self._path.open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = (
                os.stat(self._path).st_ino == os.fstat(self._file.fileno()).st_ino
            )  # it may have been removed meanwhile
        except OSError:
            held = False
        if not held:
            self._file.close()
            raise refuse("out", str(folder), "a folder that no other gamesim process is writing to now")

    def release(self, remove: bool = False) -> None:
        """Let go; with `remove` the file that this lock made goes, too, while it is still held."""
        if remove and self._new and not self._file.closed:
            self._path.unlink(missing_ok=True)
        self._file.close()
