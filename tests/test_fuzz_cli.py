"""Generated command lines: exit code 0, or 2 and one line; nothing is left behind by what is refused."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from gamesim.benchmarks.fuzzing import child, sandbox, trials
from gamesim.benchmarks.fuzzing.commands import CHEAP, OUT_OF_REACH, commands
from gamesim.benchmarks.fuzzing.sandbox import Sandbox


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    """A folder with one file in it."""
    (tmp_path / "pristine").mkdir()
    (tmp_path / "pristine" / "a").write_text("1")
    return Sandbox(tmp_path / "pristine", tmp_path / "work")


@pytest.mark.parametrize(("room", "count"), [("commands", 120), ("runs", 40), ("files by command", 60)])
def test_commands_end_well_or_are_refused(room: str, count: int, tmp_path: Path) -> None:
    found = child.meet(room, count, None, tmp_path)
    assert not found["defects"], found["defects"]
    assert found["inputs"] >= count * 0.8
    assert 0 < found["refused"] < found["inputs"]


def test_every_command_is_met() -> None:
    known = set(commands())
    assert {"run", "draw", "fit", "data make", "llm usage"} <= known
    assert set(CHEAP) | OUT_OF_REACH <= known


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "matrix/shapley", "ftrl", "--iterations", "1e400"],
        ["run", "\udcff", "ftrl"],
        ["describe", "\u202e\n\x1b[31m"],
        ["equilibria", "", "--json"],
        ["run", "graphon/sis", "gmfg-ppo", "-s", "step_size=" + "(" * 3000],
    ],
    ids=["overflowing", "not-unicode", "unprintable", "empty", "deep"],
)
def test_real_processes(arguments: list[str], box: Sandbox) -> None:
    """As in the process of the tests, so in one of its own, whose output is bytes."""
    found = box.process(arguments)
    assert found.verdict == "refused", found.words


@pytest.mark.parametrize(
    ("script", "verdict", "words"),
    [
        ("echo fine", "succeeded", ""),
        ("echo error: no >&2; exit 2", "refused", "no"),
        ("touch b; echo error: no >&2; exit 2", "defect", "refused, but it left b behind (no)"),
        ("rm a; echo error: no >&2; exit 2", "defect", "refused, but it left a behind (no)"),
        ("echo error: memory >&2; exit 1", "stopped", "error: memory"),
        ("kill -9 $$", "defect", "exit code -9 and stderr ''"),
        ("touch .b.tmp", "defect", "it left .b.tmp behind"),
        ("touch .tmp1234", "defect", "it left .tmp1234 behind"),
        ("mkdir run; touch run/config.json run/trace.csv run/summary.json run/DONE", "succeeded", ""),
        ("mkdir run; touch run/config.json run/trace.csv", "defect", "it left run/config.json of a run that is not"),
    ],
)
def test_what_becomes_of_a_process_is_seen(
    script: str, verdict: str, words: str, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", ("sh", "-c", script))
    found = box.process([])
    assert (found.verdict, found.words[: len(words)]) == (verdict, words)
    assert [p.name for p in box.folder.iterdir()] == ["a"]


def test_a_process_has_bounded_time_and_memory(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", (sys.executable, "-c", "bytearray(8 * 10**9)"))
    assert "MemoryError" in box.process([]).words
    monkeypatch.setattr(trials, "CPU_SECONDS", 1.0)
    monkeypatch.setattr(sandbox, "STARTING", 0.0)
    monkeypatch.setattr(sandbox, "PROGRAM", ("sh", "-c", "while :; do :; done"))
    assert "more than 1 s of CPU time" in box.process([]).words
    monkeypatch.setattr(trials, "CLOCK_SECONDS", 0.2)
    monkeypatch.setattr(sandbox, "PROGRAM", ("sh", "-c", "sleep 600 & sleep 600"))
    found = box.process([])
    assert found.verdict == "defect"
    assert "0.2 s" in found.words


def test_what_a_refused_command_leaves_is_seen(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaving(arguments: list[str]) -> int:
        Path("b").write_text("")
        print("error: no", file=sys.stderr)
        return 2

    monkeypatch.setattr(sandbox, "load", lambda path: leaving)
    assert box.command([]).verdict == "defect"
    assert sorted(p.name for p in box.folder.iterdir()) == ["a"]
