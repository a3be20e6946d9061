"""The tiny twin of `gamesim bench faults`: kills, disk errors, races, harms; and that it sees what is wrong."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gamesim.benchmarks import processes
from gamesim.benchmarks.faults import damage, disks, kills, races, sweeps
from gamesim.benchmarks.faults.nursery import KILLED, Nursery
from gamesim.benchmarks.faults.twins import Trial, Ward, differences, resumed, spread, unreadable
from gamesim.files import Lock, naming, own_folder, write_with
from gamesim.records import STATE


@pytest.fixture(scope="module")
def ward() -> Iterator[Ward]:
    """Two commands: seeds in a batch with saved states, and one that keeps its best policy."""
    with Ward(["arms", "recorded"], nurseries=1) as opened:
        yield opened


def wrong(ward: Ward, part: str, trials: list[Trial]) -> list[str]:
    return ward.wrong(part, trials)[1]


def test_killed_at_random_and_resumed_it_has_the_bits_of_its_twin(ward: Ward) -> None:
    assert wrong(ward, "random", [kills.at_random(twin) for twin in spread(4, ward.twins)]) == []


def test_killed_before_operations_of_all_kinds(ward: Ward) -> None:
    twin = ward.twins["recorded"]
    firsts = dict[tuple[str, str], int]()
    for n, (operation, name) in enumerate(twin.operations, start=1):
        firsts.setdefault((operation, name.strip(".").split(".")[0]), n)
    dice = random.Random(3)
    chosen = [*sorted(dice.sample(sorted(firsts.values()), 10)), len(twin.operations)]
    assert wrong(ward, "operations", [kills.at_operation(twin, n) for n in chosen]) == []


def test_errors_of_the_disk(ward: Ward) -> None:
    twin = ward.twins["recorded"]
    best = next(n for n, (_, name) in enumerate(twin.operations, start=1) if name.startswith(".best"))
    write = max(n for n, (what, name) in enumerate(twin.operations, start=1) if (what, name) == ("write", "trace.csv"))
    trials = [disks.failing(twin, n, error, False) for n, error in ((1, "EIO"), (best, "ENOSPC"), (write, "ENOSPC"))]
    trials += [disks.failing(twin, n, "ENOSPC", True) for n in (60, len(twin.operations) - 3)]
    trials += [disks.limited(twin, 500), disks.locked_up(twin)]
    trials += [disks.small(twin, "size=24k")] if disks.mountable() else []
    assert wrong(ward, "disks", trials) == []


def test_races_stops_clocks_and_folders_that_go(ward: Ward) -> None:
    twin = ward.twins["recorded"]
    trials = [races.race(twin), races.race(twin), races.race_to_resume(twin), races.stopped(twin), races.jumping(twin)]
    assert wrong(ward, "races", [*trials, races.removed(twin, anew=False), races.removed(twin, anew=True)]) == []


def test_harm(ward: Ward) -> None:
    twin = ward.twins["recorded"]
    harms = [damage.harmed(twin, damage.torn), damage.harmed(twin, damage.flipped(STATE), back=True)]
    gone = [damage.deleted(twin, name) for name in ("trace.csv", "manifest.json", "config.json")]
    assert wrong(ward, "harm", [*harms, damage.harmed(twin, damage.both), *gone]) == []


def test_a_sweep_whose_scheduler_and_workers_are_killed(ward: Ward) -> None:
    twin = sweeps.Undisturbed(ward)
    trials = [sweeps.scheduler_killed(twin, "local"), sweeps.worker_killed(twin, "local")]
    assert wrong(ward, "sweeps", trials) == []


def test_the_suite_sees_what_is_wrong(ward: Ward, tmp_path: Path) -> None:
    """A torn file, a changed number, a missing one, a lost state, a process that outlives its sweep."""
    twin = ward.twins["recorded"]

    def spoil(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        assert nursery.run(twin.command(folder)).code == 0
        assert differences(folder, twin.folder) == []
        assert unreadable(folder, twin.folder) == []
        trace = (folder / "trace.csv").read_text()
        (folder / "trace.csv").write_text(trace.replace("\n0,0,", "\n0,0,x,", 1))
        found = [*unreadable(folder, twin.folder), *differences(folder, twin.folder)]
        (folder / "trace.csv").write_text(trace)
        (folder / "summary.json").unlink()
        found += unreadable(folder, twin.folder)
        (folder / "DONE").unlink()
        for name in ("state.safetensors", "state.previous.safetensors"):
            (folder / name).write_bytes(b"")
        return found + unreadable(folder, twin.folder)

    found = " | ".join(wrong(ward, "spoil", [spoil]))
    for words in (
        "unreadable: ",
        "trial 0: trace.csv",
        "DONE, and summary.json is not as it should be",
        "a state that was saved is lost",
    ):
        assert words in found

    def other(nursery: Nursery, folder: Path, dice: random.Random) -> list[str]:
        killed = nursery.run(twin.command(folder), under=str(folder), at=30)
        assert killed.code == KILLED
        return resumed(nursery, twin, folder, clock=1) + disks.failed(killed, 1, "No space", folder)

    (words,) = wrong(ward, "other", [other])
    assert words.startswith("trial 0: exits with -9, not 1")
    row: Any = ward.row("none", [lambda *_: ["bad"], lambda *_: []], "trials")
    assert (row["ours"], row["bar"], row["holds"]) == (1, 0, False)
    with (tmp_path / "a").open("w") as file, subprocess.Popen(["sleep", "60"], stdout=file) as sleeper:
        assert processes.holding(f"{tmp_path}/") == [sleeper.pid]  # oneself aside
        assert processes.is_running(sleeper.pid)
        assert processes.kill(sleeper.pid)
    assert not processes.is_running(sleeper.pid)


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_lock_whose_folder_is_gone_is_held_no_more(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "a")
    lock = Lock(folder)
    assert lock.held
    lock.require()
    folder.rename(tmp_path / "b")
    with pytest.raises(OSError, match="removed or replaced"):
        lock.require()
    other = Lock(own_folder(folder))
    assert not lock.held
    lock.release(remove=True)  # the other's file stays
    assert other.held
    other.release()
    assert not other.held


@pytest.mark.parametrize("anew", [False, True])
def test_a_file_never_lands_in_a_folder_that_took_the_name(tmp_path: Path, anew: bool) -> None:
    folder = own_folder(tmp_path / "a")
    (folder / "x.txt").write_text("old")

    def move(spare: Path) -> None:
        folder.rename(tmp_path / "b")
        if anew:
            own_folder(folder)
        spare.write_text("new")

    with pytest.raises(OSError, match=r"replaced.*a/x\.txt" if anew else r"No such file.*a/x\.txt"):
        write_with(folder / "x.txt", move)
    assert not folder.exists() or list(folder.iterdir()) == []
    assert (tmp_path / "b" / "x.txt").read_text() == "old"


def test_errors_are_said_of_the_file_that_was_meant(tmp_path: Path) -> None:
    for given, said in ((None, "a.txt"), (".a.txt.1.tmp", "a.txt"), ("b.txt", "b.txt")):
        with pytest.raises(OSError, match="full") as caught, naming(tmp_path / "a.txt"):
            raise OSError(28, "full", given)
        assert Path(caught.value.filename).name == said


def test_a_full_disk_is_no_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="No space left") as caught:
        own_folder(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")
