"""Generated command lines: exit code 0, or 2 and one line; nothing is left behind by what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from gamesim.benchmarks.fuzzing import child
from gamesim.benchmarks.fuzzing.commands import CHEAP, OUT_OF_REACH, commands
from gamesim.benchmarks.fuzzing.trials import Sandbox, judge

COMMAND = "import sys; from gamesim.cli import main; sys.exit(main(sys.argv[1:]))"


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
def test_real_processes(arguments: list[str], tmp_path: Path) -> None:
    """As in the process of the tests, so in one of its own, whose output is bytes."""
    raw = [os.fsencode(x) for x in arguments]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *raw],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert judge(done.returncode, out, err, "--json" in arguments).verdict == "refused", err
    assert list(tmp_path.iterdir()) == []


def test_what_a_refused_command_leaves_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gamesim.benchmarks.fuzzing import trials

    (tmp_path / "pristine").mkdir()
    (tmp_path / "pristine" / "a").write_text("1")
    sandbox = Sandbox(tmp_path / "pristine", tmp_path / "work")

    def leaving(arguments: list[str]) -> int:
        Path("b").write_text("")
        print("error: no", file=sys.stderr)
        return 2

    monkeypatch.setattr(trials, "load", lambda path: leaving)
    assert sandbox.command([]).verdict == "defect"
    assert sorted(p.name for p in sandbox.folder.iterdir()) == ["a"]
