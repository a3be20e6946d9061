"""Files, to the letter: names, JSON, whole writes, folders and locks."""

import errno
import fcntl
import os
import stat
import tempfile
from math import inf
from pathlib import Path
from typing import Any

import pytest

from gamesim.errors import InvalidInput
from gamesim.files import (
    MOST,
    Lock,
    fingerprint,
    naming,
    own_folder,
    read_json,
    require_name,
    to_json,
    write_json,
    write_text,
    write_with,
)
from refusals import said


def test_names_are_letters_and_at_most_a_hundred() -> None:
    for good in ("a" * 100, "0", "a.b-c_d", "conx", "com10", "lpt", "x.con"):
        assert require_name(good) == good
    for bad in ("a" * 101, "", ".a", "-a", "a/b", "a b", "con", "NUL", "com1", "Lpt9.txt", "aux.log", "ä", "a\n"):
        shown = repr(bad)[1:-1]
        assert said(lambda bad=bad: require_name(bad, "run")) == (
            f"run: got {shown}, expected a name of at most 100 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )


def test_json_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, inf], "b": "ü"})
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert '\n  "a"' in to_json({"a": 1})
    assert read_json(path) == {"a": [1, None], "b": "ü"}
    tail = "not a JSON file that gamesim wrote"
    for text, reason in (('{"a": 1, "a": 2}', "a key stands twice"), ("[NaN]", "NaN is not a number")):
        path.write_text(text)
        assert said(lambda: read_json(path)) == f"{path}: {tail} ({reason})"
    path.write_text("{")
    assert said(lambda: read_json(path)).startswith(f"{path}: {tail} (Expecting")
    path.write_text("[" * 100_000)
    assert said(lambda: read_json(path)).startswith(f"{path}: {tail} (")
    path.write_bytes(b"\xff")
    assert said(lambda: read_json(path)).startswith(f"{path}: {tail} (")
    assert (
        said(lambda: read_json(tmp_path / "b.json"))
        == f"{tmp_path / 'b.json'}: no such file; is this the folder of a run?"
    )
    assert said(lambda: read_json(tmp_path)).startswith(f"{tmp_path}: {tail} (")


def test_a_write_is_whole_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a.txt", list[bool]()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: synced.append(stat.S_ISDIR(os.fstat(f).st_mode)) or fsync(f))
    write_text(path, "one")
    assert (path.read_text(), path.stat().st_mode & 0o777, synced) == ("one", 0o644, [False, True])

    def broken(spare: Path) -> None:
        spare.write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_with(path, broken)
    assert path.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert len(os.listdir("/dev/fd")) < 1000


def test_a_folder_that_is_replaced_during_a_write_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    def replaced(spare: Path) -> None:
        spare.write_text("for the first folder")
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        spare.write_text("of the second folder")

    with pytest.raises(OSError, match="replaced") as error:
        write_with(folder / "a.txt", replaced)
    assert (error.value.errno, error.value.filename) == (errno.ESTALE, str(folder / "a.txt"))
    assert not (folder / "a.txt").exists()
    assert not (tmp_path / "moved" / "a.txt").exists()


def test_open_files_are_closed(tmp_path: Path) -> None:
    def held() -> int:
        return len(os.listdir("/dev/fd"))

    before = held()
    for k in range(5):
        write_text(tmp_path / "a.txt", str(k))
    assert held() == before
    lock = Lock(tmp_path)
    assert held() == before + 1
    for _ in range(3):
        with pytest.raises(InvalidInput):
            Lock(tmp_path)
    assert held() == before + 1
    lock.release()
    assert held() == before


def test_a_folder_that_can_be_written_to_is_made_and_others_are_refused(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    assert own_folder(deep) == deep
    assert deep.is_dir()
    assert own_folder(deep) == deep
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("")
    link.symlink_to(deep)
    assert said(lambda: own_folder(file)) == f"out: got {file}, expected a folder; a file of that name is in the way"
    assert said(lambda: own_folder(link, "to")) == f"to: got {link}, expected a folder, not a link"
    assert said(lambda: own_folder(tmp_path / "..." / "a b", "to")).startswith("to (its last part): got a b, expected")
    assert said(lambda: own_folder(file / "x")) == (
        f"out: got {file / 'x'}, expected a folder that can be written to (Not a directory)"
    )
    zero = tmp_path / "a\0b" / "c"
    assert said(lambda: own_folder(zero)).endswith("expected a folder that can be written to (embedded null byte)")


def test_a_lock_is_of_one_holder_and_cleans_up_only_after_itself(tmp_path: Path) -> None:
    first = Lock(tmp_path)
    wanted = "a folder that no other gamesim process is writing to now"
    assert said(lambda: Lock(tmp_path)) == f"out: got {tmp_path}, expected {wanted}"
    first.release(remove=True)
    assert not (tmp_path / ".lock").exists()
    first.release(remove=True)  # twice is once
    second = Lock(tmp_path)
    second.release()
    assert (tmp_path / ".lock").exists()
    third = Lock(tmp_path)  # it found the file
    second.release(remove=True)
    third.release(remove=True)
    assert (tmp_path / ".lock").exists()
    third = Lock(tmp_path)
    third.require()
    assert third.held
    (tmp_path / ".lock").unlink()  # the file of a holder goes away: a second one has a file of its own
    assert not third.held
    fourth = Lock(tmp_path)
    assert (third.held, fourth.held) == (False, True)
    with pytest.raises(OSError, match="the folder was removed or replaced") as error:
        third.require()
    assert (error.value.errno, error.value.filename) == (errno.ESTALE, str(tmp_path))
    fourth.release(remove=True)
    third.release()
    assert not third.held


def test_a_lock_that_is_lost_while_it_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = f"out: got {tmp_path / 'a'}, expected a folder that no other gamesim process is writing to now"
    assert said(lambda: Lock(tmp_path / "a")) == wanted  # the folder is gone
    (tmp_path / "a").mkdir()
    flock, before = fcntl.flock, len(os.listdir("/dev/fd"))

    def lost(file: Any, how: int) -> None:
        assert how == fcntl.LOCK_EX | fcntl.LOCK_NB
        flock(file, how)
        (tmp_path / "a" / ".lock").unlink()

    monkeypatch.setattr(fcntl, "flock", lost)
    assert said(lambda: Lock(tmp_path / "a")) == wanted

    def broken(file: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="no locks") as error:
        Lock(tmp_path / "a")
    assert error.tb is not None, "which holds the lock that was not to be"
    assert len(os.listdir("/dev/fd")) == before
    monkeypatch.undo()
    (tmp_path / "a" / ".lock").unlink(missing_ok=True)
    lock, unlink = Lock(tmp_path / "a"), Path.unlink

    def late(path: Path, missing_ok: bool = False) -> None:  # another process removes it just before
        os.unlink(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    lock.release(remove=True)
    assert not (tmp_path / "a" / ".lock").exists()


def test_an_error_of_the_system_is_said_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for error, filename in (
        (OSError(errno.ENOSPC, "full"), str(path)),
        (OSError(errno.ENOSPC, "full", "x.tmp"), str(path)),
        (OSError(errno.ENOSPC, "full", "other"), "other"),
        (OSError("no number"), None),
    ):
        with pytest.raises(OSError, match=r"full|no number") as seen, naming(path):
            raise error
        assert seen.value.filename == filename
        assert (seen.value is error) == (filename != str(path))


def test_what_is_no_small_regular_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST == 200_000_000
    assert said(lambda: read_json(tmp_path)) == f"{tmp_path}: not a JSON file that gamesim wrote (no regular file)"
    path = tmp_path / "a.json"
    path.write_text("[10, 20]")
    monkeypatch.setattr("gamesim.files.MOST", 8)
    assert read_json(path) == [10, 20]
    path.write_text("[10, 200]")
    assert said(lambda: read_json(path)).endswith("(larger than 8 bytes)")


def test_a_disk_that_fails_is_no_bad_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**keywords: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="No space left") as error:
        own_folder(tmp_path / "a")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "a"))


def test_a_fingerprint_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
