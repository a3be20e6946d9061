"""Runs on disk: what is there, and that neither a kill, nor a full disk, nor a second process spoils it."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim import cli, files, running
from gamesim.errors import InvalidInput
from gamesim.files import Lock, own_folder, read_json, require_name, to_json, write_json, write_text, write_with
from gamesim.loop import Observer, Run, Status, solve
from gamesim.records import Record, first_difference, load_snapshot, read_trace

GAME = ["graphon/sis", "gmfg-ppo", "-g", "positions=3", "-g", "horizon=3", "-s", "feedback=noisy(0.1)"]
SAME_BYTES = ("trace.csv", "state.safetensors")


def run(folder: Path, *more: str, iterations: int = 6) -> int:
    """`gamesim run` in this process, without figures (they are tested elsewhere)."""
    return cli.main(["run", *GAME, "--iterations", str(iterations), "--out", str(folder), "--json", *more])


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "save", lambda figure, folder, name: [folder / f"{name}.png"])
    monkeypatch.setattr(running, "draw", lambda folder: None)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoint after every iteration."""
    monkeypatch.setitem(Record.__init__.__kwdefaults__, "checkpoint_every", -1.0)


def assert_same_run(a: Path, b: Path) -> None:
    for name in SAME_BYTES:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def strictly(path: Path) -> Any:
    def no(text: str) -> Any:
        raise AssertionError(f"{path} holds {text}")

    return json.loads(path.read_text(), parse_constant=no)


# --- layout ---------------------------------------------------------------------------------------------------------


def test_what_a_run_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str], often: None) -> None:
    folder = tmp_path / "run"
    assert run(folder, "--seeds", "2", "--seed", "4") == 0
    names = {p.name for p in folder.iterdir()}
    assert names == {
        *("config.json", "trace.csv", "state.safetensors", "state.previous.safetensors", "manifest.json"),
        *("play.safetensors", "summary.json", "DONE", ".lock"),
    }
    config = strictly(folder / "config.json")
    assert config["game"]["id"] == "graphon/sis"
    assert config["game"]["given"] == {"positions": "3", "horizon": "3"}
    assert config["game"]["parameters"]["infection"] == 0.8
    assert config["solver"]["parameters"]["feedback"] == {"kind": "gamesim.feedback.oracle:Noisy", "scale": 0.1}
    assert (config["seeds"], config["seed"], config["iterations"], config["device"]) == (2, 4, 6, "cpu")
    assert config["versions"]["torch"]
    manifest = strictly(folder / "manifest.json")
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["states"][-1] == files.fingerprint(folder / "state.safetensors")
    assert manifest["states"][-2] == files.fingerprint(folder / "state.previous.safetensors")
    assert strictly(folder / "summary.json") == json.loads(capsys.readouterr().out)
    lines = (folder / "trace.csv").read_text().splitlines()
    assert lines[0] == "iteration,seed,metric,value"
    assert len(lines) == 1 + 7 * 2 * len(strictly(folder / "summary.json")["metrics"])
    assert (folder / "DONE").read_text() == "out-of-iterations after 6 iterations\n"
    assert {p.stat().st_mode & 0o777 for p in folder.glob("*.json")} == {0o644}


def test_done_is_written_last(tmp_path: Path) -> None:
    run(tmp_path / "run")
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run").iterdir()}
    assert max(times, key=lambda name: times[name]) == "DONE"


def test_the_trace_on_disk_is_the_trace_in_memory(tmp_path: Path) -> None:
    run(tmp_path / "run", "--seeds", "3")
    solver = gs.make_solver("gmfg-ppo", feedback="noisy(0.1)")
    result = solve(gs.make("graphon/sis", positions=3, horizon=3), solver, iterations=6, seeds=3)
    assert read_trace(tmp_path / "run").rows() == result.trace.rows()


def test_a_diverged_run_is_strict_json_and_keeps_its_last_finite_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], often: None
) -> None:
    arguments = ["graphon/sis", "online-mirror-descent", "-g", "positions=3", "-g", "horizon=3", "-g", "reward_scale=9"]
    schedule = ["-s", "step_size=geometric(1, 1e50, 1)"]  # finite up to iteration 6
    with pytest.raises(InvalidInput):
        gs.make_solver("online-mirror-descent", step_size="geometric(1, 1e50, 1)")
    schedule = ["-s", "step_size=1e308"]
    code = cli.main(["run", *arguments, *schedule, "--out", str(tmp_path / "run"), "--json"])
    found = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(text))
    assert code == 1
    assert found["status"] == "diverged"
    assert found["metrics"]["exploitability"]["last"] is None
    assert found["metrics"]["exploitability"]["best"] == found["metrics"]["exploitability"]["first"]
    for path in (tmp_path / "run").glob("*.json"):
        strictly(path)
    assert "diverged" in (tmp_path / "run" / "DONE").read_text()


# --- resume ---------------------------------------------------------------------------------------------------------


def test_extending_a_run_is_one_longer_run(tmp_path: Path, often: None) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(whole, "--every", "4", "--seeds", "2", iterations=12) == 0
    for iterations in (0, 3, 6, 12):
        assert run(parts, "--every", "4", "--seeds", "2", "--resume", iterations=iterations) == 0
    assert_same_run(whole, parts)
    assert strictly(parts / "config.json")["iterations"] == 12


def test_a_finished_run_resumed_does_nothing_and_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run(folder)
    first = json.loads(capsys.readouterr().out)
    before = {name: (folder / name).read_bytes() for name in SAME_BYTES}
    assert run(folder, "--resume") == 0
    again = json.loads(capsys.readouterr().out)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert before == {name: (folder / name).read_bytes() for name in SAME_BYTES}
    assert not (folder / "state.previous.safetensors").exists()  # nothing was saved again
    assert (folder / "DONE").exists()


def test_a_converged_run_goes_on_with_a_smaller_tolerance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exact = ["run", *GAME[:-2], "--json", "--iterations", "60", "--out"]
    assert cli.main([*exact, str(tmp_path / "run"), "--tolerance", "0.1"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "converged"
    assert cli.main([*exact, str(tmp_path / "run"), "--tolerance", "0.001", "--resume"]) == 0
    assert cli.main([*exact, str(tmp_path / "whole"), "--tolerance", "0.001"]) == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-g", "infection=0.5"], "game.parameters.infection = 0.5 where the run has 0.8"),
        (["-s", "step_size=2"], "solver.parameters.step_size.value = 2.0 where the run has 1.0"),
        (["-s", "temperature=0.5"], "solver.parameters.temperature = 0.5 where the run has 0.1"),
        (["--seeds", "2"], "seeds = 2 where the run has 1"),
        (["--seed", "1"], "seed = 1 where the run has 0"),
        (["--every", "2"], "every = 2 where the run has 1"),
        (["--average"], "average = True where the run has False"),
    ],
)
def test_resuming_with_other_settings_names_the_first_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    run(tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    capsys.readouterr()
    assert run(tmp_path / "run", "--resume", *more) == 2
    assert words in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_the_same_settings_in_other_words_are_the_same(tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert run(tmp_path / "run", "--resume", "-g", "infection=.80", "-s", "step_size=constant(1)") == 0


def test_fewer_iterations_than_the_run_has_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run")
    assert run(tmp_path / "run", "--resume", iterations=5) == 2
    assert "iterations: got 5, expected at least 6" in capsys.readouterr().err


def test_a_folder_that_is_taken_or_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    for more, words in (([], "it holds mine.txt"), (["--resume"], "it has no config.json")):
        assert run(tmp_path, *more) == 2
        assert words in capsys.readouterr().err
        assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]  # nothing of ours is left there
    run(tmp_path / "run")
    assert run(tmp_path / "run") == 2
    assert "add --resume" in capsys.readouterr().err


def test_configurations_that_are_not_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in (
        "",
        "[]",
        "{",
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        "\udcff".encode("utf-8", "surrogatepass"),
    ):
        (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        assert run(tmp_path, "--resume") == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert "config.json" in message


class Die(Observer):
    """Stands for a crash at an iteration."""

    def __init__(self, at: int, measured: bool = False) -> None:
        self.at, self.during = at, measured

    def measured(self, run: Run) -> Status | None:
        if self.during and run.iteration == self.at:
            raise KeyboardInterrupt
        return None

    def iterated(self, run: Run) -> Status | None:
        if not self.during and run.iteration == self.at:
            raise KeyboardInterrupt
        return None


def recorded(
    folder: Path, iterations: int = 8, every: int = 1, seeds: int = 2, first: list[Observer] | None = None
) -> Any:
    """A run through the library; observers in `first` come before the record."""
    config = {"game": "sis", "solver": "gmfg-ppo", "seeds": seeds, "seed": 0, "every": every, "average": False}
    record = Record(folder, config | {"iterations": iterations}, resume=True)
    try:
        return solve(
            gs.make("graphon/sis", positions=3, horizon=3),
            gs.make_solver("gmfg-ppo", feedback="noisy(0.1)"),
            iterations=iterations,
            every=every,
            seeds=seeds,
            observers=[*(first or []), record],
            resume=record.snapshot,
        )
    finally:
        record.lock.release()


@pytest.mark.parametrize("during", [False, True])
@pytest.mark.parametrize("every", [1, 3])
def test_stopped_at_once_between_any_two_lines(tmp_path: Path, during: bool, every: int) -> None:
    """An exception, as of a second Ctrl-C, before the record hears of the measure: nothing is missing afterwards."""
    recorded(tmp_path / "whole", every=every)
    for at in (0, 3, 6) if during else (1, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            recorded(tmp_path / "run", every=every, first=[Die(at, during)])
    recorded(tmp_path / "run", every=every)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_torn_last_line_is_left_out(tmp_path: Path, often: None) -> None:
    recorded(tmp_path / "whole")
    recorded(tmp_path / "run", iterations=5)
    path = tmp_path / "run" / "trace.csv"
    whole = read_trace(tmp_path / "run").rows()
    text = path.read_text()
    for torn in ("6", "6,0,exploit", "6,0,exploitability,0.12", "6,0,exploitability,0.12\n6,1,expl"):
        path.write_text(text + torn)
        assert read_trace(tmp_path / "run").rows() == whole
    recorded(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_trace_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no such file; is .* the folder of a run"):
        read_trace(tmp_path)
    for text in ("", "a,b\n", "\x00\n"):
        (tmp_path / "trace.csv").write_text(text)
        with pytest.raises(InvalidInput, match="its first line is not"):
            read_trace(tmp_path)
    for row in ("1,0,x", "1,0,x,y", "x,0,m,1", "1,0,m,1,2", '1,0,"m,1', "", "1,0,m," + "9" * 200_000, "\x00"):
        (tmp_path / "trace.csv").write_text(f"iteration,seed,metric,value\n0,0,m,1\n{row}\n")
        with pytest.raises(InvalidInput, match="line 3 is not iteration,seed,metric,value"):
            read_trace(tmp_path)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, often: None, damage: str) -> None:
    recorded(tmp_path / "whole")
    folder = tmp_path / "run"
    recorded(folder, iterations=6)
    path = folder / "state.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"flipped": bytes(data), "cut": bytes(data[:-9]), "empty": b""}[damage])
    snapshot = load_snapshot(folder)
    assert snapshot is not None
    assert snapshot.iteration == 5
    assert snapshot.trace.iterations == [0, 1, 2, 3, 4, 5]
    with pytest.raises(KeyboardInterrupt):  # the broken one never takes the place of the good one
        recorded(folder, first=[Die(6)])
    recorded(folder)
    assert_same_run(folder, tmp_path / "whole")


def test_without_any_whole_state_a_run_begins_again(tmp_path: Path, often: None) -> None:
    recorded(tmp_path / "whole")
    recorded(tmp_path / "run", iterations=6)
    for name in ("state.safetensors", "state.previous.safetensors"):
        (tmp_path / "run" / name).write_bytes(b"no")
    assert load_snapshot(tmp_path / "run") is None
    recorded(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_state_that_the_trace_does_not_lead_up_to_is_passed_over(tmp_path: Path, often: None) -> None:
    recorded(tmp_path / "whole")
    recorded(tmp_path / "run", iterations=6)
    path = tmp_path / "run" / "trace.csv"
    path.write_text(
        "".join(line for line in path.read_text().splitlines(True) if not line.startswith(("3,", "4,", "5,", "6,")))
    )
    assert load_snapshot(tmp_path / "run") is None
    recorded(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    recorded(tmp_path / "run", iterations=3)
    for name in (".state.safetensors.abc.tmp", ".tmpXetQqB"):  # ours, and the library's own
        (tmp_path / "run" / name).write_bytes(b"half")
    recorded(tmp_path / "run")
    assert not list((tmp_path / "run").glob(".*tmp*"))


FORKS = """
# One process that has everything imported, whose forks are the runs: most of a short run would be imports.
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
import numba, safetensors.torch, gamesim.loop, gamesim.records
from gamesim import cli, running
from gamesim.records import Record

running.draw, running.save = lambda folder: None, lambda figure, folder, name: [folder]
gamesim.records.versions()
folder, *arguments = sys.argv[1:]

def begin(out, *more):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(cli.main(["run", *arguments, "--json", "--out", f"{folder}/{out}", *more]))
    return child

def code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for race in range(4):
    print("race", *sorted(code(child) for child in [begin(race), begin(race)]))
Record.__init__.__kwdefaults__["checkpoint_every"] = -1.0
dice, killed, left = random.Random(5), 0, -signal.SIGKILL
while left == -signal.SIGKILL:
    child = begin("killed", "--resume")
    if killed < 12:
        time.sleep(dice.uniform(0.03, 0.15))
        os.kill(child, signal.SIGKILL)
    left = code(child)
    killed += left == -signal.SIGKILL
print("killed", killed, left)
"""
LONG = [*GAME, "--iterations", "200", "--every", "3", "--seeds", "2"]


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]], str]:
    folder = tmp_path_factory.mktemp("forked")
    (folder / "forks.py").write_text(FORKS)
    done = subprocess.run(
        [sys.executable, str(folder / "forks.py"), str(folder), *LONG],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return folder, [line.split() for line in done.stdout.splitlines()], done.stderr


def test_killed_a_dozen_times_and_resumed_it_is_bit_for_bit_the_undisturbed_run(
    tmp_path: Path, forked: tuple[Path, list[list[str]], str]
) -> None:
    folder, lines, _ = forked
    name, kills, code = lines[-1]
    assert (name, code) == ("killed", "0")
    assert int(kills) >= 6
    assert cli.main(["run", *LONG, "--json", "--out", str(tmp_path / "whole")]) == 0
    assert_same_run(folder / "killed", tmp_path / "whole")
    assert not list((folder / "killed").glob(".*tmp*"))
    assert (folder / "killed" / "DONE").exists()


# --- two processes --------------------------------------------------------------------------------------------------


def test_of_two_processes_on_one_folder_exactly_one_wins(forked: tuple[Path, list[list[str]], str]) -> None:
    folder, lines, errors = forked
    races = lines[:-1]
    assert races == [["race", "0", "2"]] * 4
    assert len([line for line in errors.splitlines() if line.startswith("error: out:")]) == 4
    for race in range(4):
        assert (folder / str(race) / "DONE").exists()
        assert read_trace(folder / str(race)).iterations[-1] == 200


def test_the_lock_is_held_and_let_go(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(InvalidInput, match="no other gamesim process"):
        Lock(tmp_path)
    lock.release(remove=True)
    assert not list(tmp_path.iterdir())
    Lock(tmp_path).release()
    again = Lock(tmp_path)
    again.release(remove=True)  # it was there before: it stays
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


# --- writes ---------------------------------------------------------------------------------------------------------


def test_a_failing_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(spare: Path) -> None:
        spare.write_text("half of the n")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_with(path, full)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failing_sync_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "old")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("failing", range(0, 12, 2))
def test_a_disk_that_is_full_during_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], often: None, failing: int
) -> None:
    """Whichever write fails: one line, exit 1, and what was saved before can be read and continued."""
    real, writes = files.write_with, [0]

    def sometimes(path: Path, write: Any) -> None:
        writes[0] += 1
        if writes[0] > failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, write)

    run(tmp_path / "whole")
    capsys.readouterr()
    for module in (files, sys.modules["gamesim.records"]):
        monkeypatch.setattr(module, "write_with", sometimes)
    assert run(tmp_path / "run") == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "No space left on device" in message
    for module in (files, sys.modules["gamesim.records"]):
        monkeypatch.setattr(module, "write_with", real)
    assert run(tmp_path / "run", "--resume") == 0
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Any:
    """A file system of 160 kB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # lazily: a state read from it may still be mapped


def test_a_disk_that_is_really_full(tiny_disk: Path, capsys: pytest.CaptureFixture[str], often: None) -> None:
    write_text(tiny_disk / "a.txt", "old")
    with pytest.raises(OSError, match="No space left"):
        write_text(tiny_disk / "a.txt", "x" * 10**6)
    assert (tiny_disk / "a.txt").read_text() == "old"
    assert run(tiny_disk / "run", iterations=2) == 0
    (tiny_disk / "fill").write_bytes(b"x" * 4096)
    with contextlib.suppress(OSError), (tiny_disk / "fill").open("ab", buffering=0) as f:
        while f.write(b"x" * 4096):
            pass
    capsys.readouterr()
    before = (tiny_disk / "run" / "state.safetensors").read_bytes()
    assert run(tiny_disk / "run", "--resume", iterations=4) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert (tiny_disk / "run" / "state.safetensors").read_bytes() == before
    (tiny_disk / "fill").unlink()
    assert run(tiny_disk / "run", "--resume", iterations=4) == 0


# --- names and JSON -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a b", "-x", ".x", "x" * 101, "CON", "nul.txt", "é", "a\n", "a\x00"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="letters, digits"):
        require_name(name)


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 100, "3", "console"])
def test_names_that_are_fine(name: str) -> None:
    assert require_name(name) == name


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for path, words in (
        (tmp_path / "file", "a file of that name is in the way"),
        (tmp_path / "file" / "x", "Not a directory"),
        (tmp_path / "link", "a folder, not a link"),
        (tmp_path / "..", "letters, digits"),
        (Path("/proc/nothing"), "can be written to"),
        (tmp_path / "a\x00b" / "c", "can be written to"),
    ):
        with pytest.raises(InvalidInput, match=words):
            own_folder(path)
    monkeypatch.chdir(tmp_path / "a")
    assert own_folder(Path()) == Path()  # the folder one stands in


def test_json_has_no_nan(tmp_path: Path) -> None:
    data = {"a": float("nan"), "b": [float("inf"), 1.5], "c": torch.tensor([1.0, float("-inf")])}
    assert json.loads(to_json(data)) == {"a": None, "b": [None, 1.5], "c": [1.0, None]}
    write_json(tmp_path / "a.json", data)
    assert read_json(tmp_path / "a.json") == {"a": None, "b": [None, 1.5], "c": [1.0, None]}


def test_first_difference() -> None:
    assert first_difference("x", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == "x.a.c = 3 where the run has 2"
    assert first_difference("x", {"a": 1}, {"b": 1}) == "x.a = None where the run has 1"
    assert first_difference("x", [1], [1]) is None


def test_state_is_safetensors_and_nothing_else(tmp_path: Path) -> None:
    run(tmp_path / "run")
    header = (tmp_path / "run" / "state.safetensors").read_bytes()
    size = int.from_bytes(header[:8], "little")
    assert set(json.loads(header[8 : 8 + size])) == {"__metadata__", "actor.scores.0", "flow"}
    assert textwrap.shorten((tmp_path / "run" / "DONE").read_text(), 80)
