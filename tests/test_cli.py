"""The command line: what it prints, its exit codes, and one line for whatever a person gets wrong."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamesim import catalog, cli, diagnosis, running
from gamesim.cli import shell
from gamesim.files import read_json
from gamesim.records import read_trace

SMALL = ["-g", "positions=3", "-g", "horizon=3"]
RUN = ["run", "graphon/sis", "gmfg-ppo", *SMALL, "--iterations", "3"]
COMMANDS = sorted(cli.cli.commands)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test stands in its own empty folder, and what it imports from there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("user_")]:
        del sys.modules[name]


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "save", lambda figure, folder, name: [folder / f"{name}.png"])
    monkeypatch.setattr(running, "draw", lambda folder: None)


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The one JSON document on stdout."""
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr; nothing on stdout, nothing on disk."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    code = cli.main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert sorted(p for p in Path().rglob("*") if "__pycache__" not in p.parts) == before
    return err


# --- help, list, describe, doctor -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"(Example: )?gamesim {command} \S", text), text
    assert "--json" in text


def test_the_help_of_bench_names_every_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in catalog.table("benchmarks") if name not in text] == []


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    bare = capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out == bare
    assert all(command in bare for command in COMMANDS)
    assert cli.main(["--version"]) == 0
    assert "gamesim" in capsys.readouterr().out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    rows = as_json(capsys, "list")
    assert {frozenset(row) for row in rows} == {frozenset({"id", "kind", "summary"})}
    assert {row["kind"] for row in rows} == {"game", "solver", "experiment"}
    assert all(row["summary"] for row in rows)
    for kind in cli.KINDS:
        some = as_json(capsys, "list", kind)
        assert [row["id"] for row in some] == sorted(catalog.table(kind))
        assert cli.main(["list", kind]) == 0
        text = capsys.readouterr().out
        assert all(row["id"] in text and row["summary"] in text for row in some)


@pytest.mark.parametrize("name", [n for kind in cli.KINDS for n in catalog.table(kind)])
def test_describe(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "describe", name)
    assert found.keys() == {"id", "kind", "summary", "parameters", "source"}
    assert found["id"] == name
    assert found["source"]
    assert all(row.keys() == {"name", "type", "default", "help"} for row in found["parameters"])
    assert cli.main(["describe", name]) == 0
    text = capsys.readouterr().out
    assert all(row["name"] in text for row in found["parameters"])


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "doctor")
    assert found.keys() >= {"healthy", "versions", "devices", "processors", "problems"}
    assert found["devices"][0] == "cpu"
    assert all(problem.keys() == {"problem", "fix"} for problem in found["problems"])


def test_a_doctor_that_finds_something(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_devices", list)
    assert as_json(capsys, "doctor", code=1)["healthy"] is False
    assert cli.main(["doctor"]) == 1
    assert "fix: torch cannot be imported -> pip install" in capsys.readouterr().out


# --- run and draw ---------------------------------------------------------------------------------------------------


def test_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, *RUN, "--out", "a")
    keys = {"run", "game", "solver", "iterations", "status", "message", "metrics", "diverged", "seconds"}
    assert found.keys() == keys
    assert (found["run"], found["game"], found["solver"], found["iterations"]) == ("a", "graphon/sis", "gmfg-ppo", 3)
    assert found["status"] == "out-of-iterations"
    for name in ("exploitability", "regularized_exploitability"):
        row = found["metrics"][name]
        assert row.keys() == {"first", "last", "best"}
        assert row["best"] <= min(row["first"], row["last"])
    trace = read_trace(Path("a")).metrics["exploitability"]
    assert found["metrics"]["exploitability"]["first"] == float(trace[0])
    assert found["metrics"]["exploitability"]["last"] == float(trace[-1])
    assert {p.name for p in Path("a/figures").iterdir()} == {"convergence.png", "convergence.pdf"}


def test_run_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "--tolerance", "100"]) == 0
    out = capsys.readouterr().out
    assert "the tolerance is met" in out
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"graphon-sis-gmfg-ppo-[0-9a-f]{8}", folder.name)
    assert str(folder) in out
    assert (folder / "DONE").exists()


def test_run_means_over_seeds(capsys: pytest.CaptureFixture[str], no_figures: None) -> None:
    found = as_json(capsys, *RUN, "--seeds", "3", "-s", "feedback=noisy(0.5)", "--out", "a")
    values = read_trace(Path("a")).metrics["exploitability"][-1]
    assert values.shape == (3,)
    assert found["metrics"]["exploitability"]["last"] == pytest.approx(float(values.mean()), abs=1e-15)


def test_the_default_folder_depends_on_what_matters_alone(capsys: pytest.CaptureFixture[str], no_figures: None) -> None:
    def name(*more: str) -> str:
        found: str = as_json(capsys, *RUN, *more)["run"]
        return found

    first = name()
    assert name("--resume", "--iterations", "5") == first
    assert name("--seed", "1") != first
    assert name("-g", "infection=0.5") != first
    assert name("--name", "mine") == "runs/mine"
    assert "add --resume" in refused(capsys, *RUN)


def test_no_fused_agrees(capsys: pytest.CaptureFixture[str], no_figures: None) -> None:
    one = as_json(capsys, *RUN, "--out", "a")["metrics"]["exploitability"]
    two = as_json(capsys, *RUN, "--out", "b", "--no-fused")["metrics"]["exploitability"]
    assert one["last"] == pytest.approx(two["last"], abs=1e-12)


def test_a_run_that_diverges_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "run",
        "graphon/sis",
        "online-mirror-descent",
        *SMALL,
        "-g",
        "reward_scale=100",
        "-s",
        "step_size=1e308",
    ]
    assert cli.main([*arguments, "--out", "a"]) == 1
    assert "diverged" in capsys.readouterr().out
    assert "diverged" in Path("a/DONE").read_text()
    assert Path("a/figures/convergence.png").exists()
    found = as_json(capsys, *arguments, "--out", "b", code=1)
    assert found["status"] == "diverged"


def test_draw(capsys: pytest.CaptureFixture[str], no_figures: None) -> None:
    for name in ("a", "b"):
        as_json(capsys, *RUN, "--out", name)
    found = as_json(capsys, "draw", "a")
    assert found == {"figures": ["a/figures/convergence.png", "a/figures/convergence.pdf"]}
    found = as_json(capsys, "draw", "a", "b", "--out", "both", "--metric", "maximum_exploitability")
    assert found == {"figures": ["both/comparison.png", "both/comparison.pdf"]}
    assert all(Path(p).stat().st_size > 1000 for p in found["figures"])
    assert "metric: got 'regret', expected one of" in refused(capsys, "draw", "a", "--metric", "regret")


# --- a user's own files ---------------------------------------------------------------------------------------------

USER = """
from dataclasses import dataclass
import torch
from gamesim.games import GraphonGame
from gamesim.graphons import FunctionGraphon, Graphon

@dataclass(frozen=True, kw_only=True)
class Mine(GraphonGame):
    horizon: int = 3
    positions: int = 4
    graphon: Graphon = FunctionGraphon(lambda x, y: {graphon})
    size: float = 1.0

    @property
    def initial(self):
        return torch.tensor({initial}, **self.like)

    def reward(self, h, z):
        return {reward}

    def transition(self, h, z):
        return torch.tensor({transition}, **self.like)
"""
FINE = {
    "graphon": "0 * x + 0 * y + 0.5",
    "initial": "[0.5, 0.5]",
    "reward": "self.size * torch.stack([-z, z], -1)",
    "transition": "[[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]]",
}


def mine(name: str, **parts: str) -> str:
    Path(f"{name}.py").write_text(USER.format(**FINE | parts))
    return f"{name}:Mine"


def test_a_users_own_graphon_game(capsys: pytest.CaptureFixture[str], no_figures: None) -> None:
    game = mine("user_fine")
    found = as_json(capsys, "run", game, "gmfg-ppo", "-g", "size=2", "--iterations", "2", "--seeds", "2")
    assert found["game"] == "user_fine:Mine"
    assert found["run"].startswith("runs/user_fine-Mine-gmfg-ppo-")
    described = as_json(capsys, "describe", game)
    assert "size" in {row["name"] for row in described["parameters"]}


@pytest.mark.parametrize(
    ("part", "text", "words"),
    [
        (
            "transition",
            "[[[0.5, 0.6], [1, 0]], [[0, 1], [1, 0]]]",
            ["transition(h=0)[0, 0]", "sums to 1.1", "rows that sum to one"],
        ),
        ("transition", "[[[1.5, -0.5], [1, 0]], [[0, 1], [1, 0]]]", ["transition(h=0)[0, 0, 1]", "-0.5", "at least 0"]),
        (
            "transition",
            "[[[float('nan'), 1], [1, 0]], [[0, 1], [1, 0]]]",
            ["transition(h=0)[0, 0, 0]", "nan", "finite"],
        ),
        pytest.param("transition", "[[0.5, 0.5], [0.5, 0.5]]", ["transition", "shape", "expected"]),
        pytest.param("transition", "[[[1.0, 0, 0], [1, 0, 0]], [[1, 0, 0], [1, 0, 0]]]", ["shape", "expected"]),
        ("initial", "[0.5, 0.6]", ["initial", "1.1", "rows that sum to one"]),
        ("initial", "[-0.5, 1.5]", ["initial[0]", "-0.5", "at least 0"]),
        ("initial", "0.5", ["initial", "shape ()", "expected [s]"]),
        pytest.param("initial", "[0.2, 0.3, 0.5]", ["shape", "expected"]),
        ("reward", "torch.tensor(float('nan')) + torch.stack([-z, z], -1)", ["reward(h=0)", "nan", "finite rewards"]),
        ("reward", "z[..., :1]", ["reward", "shape", "expected"]),
        ("graphon", "-0.25 + 0 * x * y", ["graphon(", "-0.25", "at least 0"]),
        ("graphon", "1.5 + 0 * x * y", ["graphon(", "1.5", "at most 1"]),
        ("graphon", "x + 0 * y", ["graphon(", "symmetric", "W(x, y) = W(y, x)"]),
        ("graphon", "float('nan') + 0 * x * y", ["graphon(", "nan", "a finite number"]),
    ],
)
def test_a_game_that_is_wrong_is_refused_before_any_work(
    part: str, text: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    game = mine(f"user_{part}_{abs(hash(text))}", **{part: text})
    message = refused(capsys, "run", game, "gmfg-ppo", "--iterations", "2")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1 +", ["SyntaxError", "mend the module"]),
        ("1 / 0", ["ZeroDivisionError", "mend the module"]),
        ("import nothing_of_that_name", ["No module named 'nothing_of_that_name'"]),
        ("class Other: ...", ["got 'Mine', expected one of Other"]),
        ("Mine = 3", ["Mine is no class"]),
        ("class Mine: ...", ["expected an object with start(), feedback(policy)", "start is missing"]),
        ("class Mine:\n    def __init__(self, size): ...", ["needs arguments; make it a dataclass"]),
        ("from gamesim.games import GraphonGame\nclass Mine(GraphonGame): ...", ["it lacks initial, reward"]),
    ],
)
def test_modules_that_are_wrong(text: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name = f"user_module_{abs(hash(text))}"
    Path(f"{name}.py").write_text(text)
    message = refused(capsys, "run", f"{name}:Mine", "online-mirror-descent")
    for word in words:
        assert word in message


def test_a_game_that_takes_no_batch_and_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("user_alone.py").write_text(
        textwrap.dedent("""
        import torch
        class Mine:
            A = torch.tensor([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])
            def start(self): return (torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5]))
            def feedback(self, policy): return (self.A @ policy[1], -self.A.T @ policy[0])
            def exploitability(self, policy): return (self.A @ policy[1]).max() - (self.A.T @ policy[0]).min()
        """)
    )
    assert "game: Mine" in refused(capsys, "run", "user_alone:Mine", "online-mirror-descent", "--seeds", "2")
    assert as_json(capsys, "run", "user_alone:Mine", "online-mirror-descent", "--iterations", "3")["iterations"] == 3


# --- one line for each mistake --------------------------------------------------------------------------------------

PMD = ["run", "graphon/sis", "policy-mirror-descent"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*PMD, "-s", "temperature=1", "-s", "step_size=1"], ["step_size", "temperature x step_size < 1", "lower one"]),
        (["run", "graphon/siss", "gmfg-ppo"], ["game: got 'graphon/siss'", "did you mean graphon/sis"]),
        (["run", "graphon/sis", "gmfg-po"], ["solver: got 'gmfg-po'", "did you mean gmfg-ppo?"]),
        (["run", "gmfg-ppo", "graphon/sis"], ["game: got 'gmfg-ppo'", "expected one of"]),
        ([*RUN, "-g", "infectoin=0.5"], ["parameter of graphon/sis: got 'infectoin'", "did you mean infection"]),
        ([*RUN, "-s", "stepsize=1"], ["parameter of gmfg-ppo: got 'stepsize'", "did you mean step_size"]),
        ([*RUN, "-g", "graphon=powerlaw"], ["graphon: got 'powerlaw'", "did you mean power-law"]),
        ([*RUN, "-g", "graphon.a=0.5"], ["parameter of graphon: got 'a'"]),
        ([*RUN, "-s", "step_size=powr(1)"], ["step_size: got 'powr'", "did you mean power?"]),
        ([*RUN, "-s", "feedback=noise(1)"], ["feedback: got 'noise'", "did you mean noisy?"]),
        ([*RUN, "-s", "feedback=noisy(-1)"], ["feedback.scale: got -1.0", "at least 0"]),
        ([*RUN, "-g", "graphon=power-law"], ["graphon: got 'power-law", "normalize=true or clip=true"]),
        ([*RUN, "-g", "infection"], ["-g: got 'infection'", "name=value"]),
        ([*RUN, "-g", "=1"], ["-g: got '=1'", "name=value"]),
        ([*RUN, "-g", "positions=5"], ["-g: got 'positions=5'", "stands twice"]),
        (["run", "graphon/sis", "gmfg-ppo", "-g", "positions=0"], ["positions: got 0", "a whole number from 1"]),
        (
            ["run", "graphon/sis", "gmfg-ppo", "-g", "positions=1000000000"],
            ["positions: got 1000000000", "at most 20000000"],
        ),
        (
            ["run", "graphon/sis", "gmfg-ppo", "-g", "positions=1e12"],
            ["positions: got 1000000000000", "a whole number from 1"],
        ),
        (["run", "graphon/sis", "gmfg-ppo", "-g", "horizon=-1"], ["horizon: got -1", "a whole number from 1"]),
        (["run", "graphon/sis", "gmfg-ppo", "-g", "horizon=two"], ["horizon: got 'two'", "a whole number"]),
        ([*RUN, "-g", "infection=nan"], ["infection: got 'nan'", "finite"]),
        ([*RUN, "-g", "infection=1.5"], ["infection: got 1.5", "between 0 and 1"]),
        ([*RUN, "-g", "reward_scale=inf"], ["reward_scale: got 'inf'", "finite"]),
        ([*RUN, "-s", "temperature=-inf"], ["temperature: got '-inf'", "finite"]),
        ([*RUN, "-s", "averaging=2"], ["averaging: got constant(2)", "at most 1"]),
        ([*RUN, "--iterations", "-1"], ["--iterations", "-1", "x>=0"]),
        ([*RUN, "--iterations", "many"], ["--iterations", "'many'", "integer"]),
        ([*RUN, "--seeds", "0"], ["--seeds", "0", "1<=x"]),
        ([*RUN, "--seed", "-1"], ["--seed", "-1", "x>=0"]),
        ([*RUN, "--every", "0"], ["every", "0", "at least 1, or log"]),
        ([*RUN, "--threads", "0"], ["--threads", "0", "1<=x"]),
        ([*RUN, "--tolerance", "nan"], ["tolerance: got nan", "finite"]),
        ([*RUN, "--tolerance", "-1"], ["tolerance: got -1.0", "at least 0"]),
        ([*RUN, "--device", "nonsense"], ["device: got 'nonsense'", "cpu, or a device that `gamesim doctor` lists"]),
        ([*RUN, "--device", "meta"], ["device: got 'meta'", "gamesim doctor"]),
        ([*RUN, "--device", "cuda:99"], ["device: got 'cuda:99'", "gamesim doctor"]),
        ([*RUN, "-g", "dtype=float16"], ["dtype: got 'float16'", "did you mean float"]),
        ([*RUN, "-g", "quadrature=midpiont"], ["quadrature: got 'midpiont'", "did you mean midpoint"]),
        ([*RUN, "-g", "graph=missing.txt"], ["graph: got 'missing.txt'", "an existing file"]),
        ([*RUN, "-g", "graph=karate-klub"], ["graph: got 'karate-klub'", "did you mean karate-club"]),
        ([*RUN, "-g", "graph=."], ["graph: got '.'", "a file"]),
        ([*RUN, "--name", "../x"], ["name: got '../x'", "letters, digits"]),
        ([*RUN, "--name", "x", "--out", "y"], ["name: got 'x'", "one of the two"]),
        ([*RUN, "--out", "/proc/xyz"], ["out: got '/proc/xyz'", "can be written to"]),
        ([*RUN, "--out", "new/a b"], ["out (its last part): got 'a b'", "letters, digits"]),
        ([*RUN, "--out", ".."], ["out (its last part): got '..'"]),
        ([*RUN, "--resume", "--out", "new", "--iterations", "x"], ["--iterations", "'x'"]),
        (["run", "nothing_there:Mine", "gmfg-ppo"], ["cannot import 'nothing_there'", "PYTHONPATH"]),
        (["run", "a b:Mine", "gmfg-ppo"], ["game: got 'a b:Mine'", "module:Class"]),
        (["run"], ["Missing argument 'GAME'"]),
        (["run", "graphon/sis"], ["Missing argument 'SOLVER'"]),
        ([*RUN, "--colour", "red"], ["No such option '--colour'"]),
        (["runn"], ["command: got 'runn'", "did you mean run?"]),
        (["list", "gamess"], ["'gamess' is not one of 'games', 'solvers', 'experiments'"]),
        (["describe", "graphon/siss"], ["id: got 'graphon/siss'", "did you mean graphon/sis"]),
        (["describe", "os:getcwd"], ["game: got 'os:getcwd'", "getcwd is no class"]),
        (["draw", "nowhere"], ["run: got 'nowhere'", "the folder of a run"]),
        (["draw", "."], ["trace.csv: no such file", "the folder of a run"]),
        (["draw"], ["Missing argument 'RUN...'"]),
        (["reproduce", "graphon-rates"], ["experiment: got 'graphon-rates'", "did you mean graphon-rate"]),
        (["reproduce", "graphon-rate", "--scale", "huge"], ["--scale", "'huge' is not one of 'quick', 'full'"]),
        (["bench", "graphn"], ["suite: got 'graphn'"]),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, *arguments)
    for word in words:
        assert word in message


def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    assert "device: got 'cuda', expected cpu, or a device" in refused(capsys, *RUN, "--device", "cuda")


@pytest.mark.parametrize("name", ["empty.txt", "broken.graphml", "broken.gml", "broken.npz", "strange.xyz"])
def test_graph_files_that_cannot_be_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text("" if name.startswith("empty") else "\x00 what is this?")
    message = refused(capsys, "run", "graphon/sis", "gmfg-ppo", "-g", f"graph={name}")
    assert "graph: " in message
    assert name in message


def test_folders_that_will_not_do(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    Path("folder").mkdir()
    Path("link").symlink_to("folder")
    Path("folder/mine.txt").write_text("mine")
    for out, words in (
        ("file", "in the way"),
        ("file/x", "Not a directory"),
        ("link", "not a link"),
        ("folder", "it holds mine.txt"),
    ):
        message = refused(capsys, *RUN, "--out", out)
        assert f"out: got '{out}'" in message
        assert words in message


def test_parents_that_were_made_for_a_refused_run_are_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    game = mine("user_late", transition="[[[0.5, 0.6], [1, 0]], [[0, 1], [1, 0]]]")
    refused(capsys, "run", game, "gmfg-ppo", "--out", "deep/er/run")
    Path("kept").mkdir()
    refused(capsys, "run", game, "gmfg-ppo", "--out", "kept/run")
    Path("empty").mkdir()
    refused(capsys, "run", game, "gmfg-ppo", "--out", "empty")


def test_too_little_memory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "graphon/beach", "gmfg-ppo", "-g", "states=3000000", "-g", "positions=1"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "memory" in err
    assert not Path("runs").exists()


def test_what_is_wrong_inside_a_users_game_keeps_its_traceback(no_figures: None) -> None:
    """Someone who writes a game needs to see where it failed."""
    Path("user_bug.py").write_text(
        "import torch\nclass Mine:\n def start(self): return (torch.ones(2) / 2,)\n"
        " def feedback(self, policy): raise RuntimeError('my bug')\n def exploitability(self, policy): return 0.0\n"
    )
    with pytest.raises(RuntimeError, match="my bug"):
        cli.main(["run", "user_bug:Mine", "online-mirror-descent", "--out", "a", "--json"])
    assert not Path("a/DONE").exists()
    with pytest.raises(RuntimeError, match="my bug"):  # and the folder is not locked for ever
        cli.main(["run", "user_bug:Mine", "online-mirror-descent", "--out", "a", "--json", "--resume"])


# --- signals --------------------------------------------------------------------------------------------------------

LONG = ["run", "graphon/sis", "gmfg-ppo", *SMALL, "-s", "feedback=noisy(0.1)", "--every", "5", "--json"]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, int, str, str]]:
    """Two real processes, one stopped by SIGINT and one by SIGTERM in the middle of their work."""
    folder = tmp_path_factory.mktemp("interrupted")
    program = [sys.executable, "-m", "gamesim", *LONG, "--iterations", "1000000", "--out"]
    processes = {
        number: subprocess.Popen(
            [*program, f"run{number}"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    ends = time.monotonic() + 60
    for number, process in processes.items():
        trace = folder / f"run{number}" / "trace.csv"
        while (
            (not trace.exists() or trace.stat().st_size < 2000) and time.monotonic() < ends and process.poll() is None
        ):
            time.sleep(0.02)
        process.send_signal(number)
    found = {}
    for number, process in processes.items():
        out, err = process.communicate(timeout=300)
        found[int(number)] = (folder / f"run{number}", process.returncode, out, err)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_readable_and_goes_on_as_if_nothing_had_been(
    number: int,
    interrupted: dict[int, tuple[Path, int, str, str]],
    capsys: pytest.CaptureFixture[str],
    no_figures: None,
) -> None:
    folder, code, out, err = interrupted[int(number)]
    assert code == 128 + number, err
    assert "Traceback" not in err
    assert "finishing this iteration" in err
    summary = json.loads(out)
    assert summary["status"] == "interrupted"
    assert "--resume" in summary["message"]
    assert read_json(folder / "summary.json") == summary
    assert "interrupted" in (folder / "DONE").read_text()
    assert (folder / "figures" / "convergence.png").stat().st_size > 1000
    done = summary["iterations"]
    assert done > 0
    assert read_trace(folder).iterations == list(range(0, done + 1, 5))
    iterations = ["--iterations", str(done + 7)]
    assert as_json(capsys, *LONG[:-1], *iterations, "--out", str(folder), "--resume")["status"] == "out-of-iterations"
    as_json(capsys, *LONG[:-1], *iterations, "--out", "whole")
    for name in ("trace.csv", "state.safetensors"):
        assert (folder / name).read_bytes() == Path("whole", name).read_bytes()


KILLS = """
import os, torch
class Mine:
    calls = 0
    def start(self): return (torch.tensor([0.5, 0.5], dtype=torch.float64),)
    def feedback(self, policy):
        Mine.calls += 1
        if Mine.calls == 4:
            for _ in range({times}): os.kill(os.getpid(), {number})
        return (torch.tensor([1.0, 0.0], dtype=torch.float64),)
    def exploitability(self, policy): return policy[0][1]
"""


@pytest.mark.parametrize("number", [int(signal.SIGINT), int(signal.SIGTERM)])
@pytest.mark.parametrize("times", [1, 2])
def test_once_finishes_the_iteration_and_twice_stops_at_once(
    number: int, times: int, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    name = f"user_kills_{number}_{times}"
    Path(f"{name}.py").write_text(KILLS.format(number=number, times=times))
    before = signal.getsignal(number)
    arguments = ["run", f"{name}:Mine", "online-mirror-descent", "--iterations", "9", "--out", "a", "--json"]
    assert cli.main(arguments) == 128 + number
    err = capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert Path("a/DONE").exists() == (times == 1)
    assert ("stopped at once" in err) == (times == 2)
    assert read_trace(Path("a")).iterations == list(range(4 if times == 2 else 5))
    assert cli.main([*arguments, "--resume"]) == 0
    assert cli.main([*arguments[:-2], "b", "--json"]) == 0
    for file in ("trace.csv", "state.safetensors"):
        assert Path("a", file).read_bytes() == Path("b", file).read_bytes()


def test_ctrl_c_before_the_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shell, "limit_threads", early)
    assert cli.main(RUN) == 130
    assert not Path("runs").exists()


def test_python_m_gamesim_and_its_exit_codes() -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gamesim", *arguments], capture_output=True, text=True, check=False
        )

    done = call("run", "graphon/sis", "gmfg-po")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    done = call("list", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)
    assert done.stderr == ""


def test_a_closed_pipe_is_no_error() -> None:
    text = f"{shlex.quote(sys.executable)} -m gamesim list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


# --- any arguments --------------------------------------------------------------------------------------------------

PIECES = """
    games solvers graphon/sis graphon/beach mean-field/left-right gmfg-ppo fixed-point policy-mirror-descent --json
    --help --resume --average --no-fused -- - a runs -g -s horizon=3 positions=3 temperature=0.5 temperature= x=1
    --iterations --seeds --seed --every --out --name --metric --device --scale 2 0 -1 cpu quick fake nan 1e-3
    mymodule:Game : os: --out=b --seeds=2 --tolerance graphon=erdos-renyi(0.3)
"""
WORDS = st.one_of(
    st.sampled_from(["", *COMMANDS, *PIECES.split()]),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6),
)
LEADS = st.sampled_from(
    [
        [],
        ["run", "graphon/sis", "gmfg-ppo", "-g", "horizon=3", "-g", "positions=3", "--iterations", "2"],
        ["run", "mean-field/left-right", "online-mirror-descent", "--iterations", "1"],
        ["run"],
        ["list"],
        ["describe"],
        ["draw"],
    ]
)


class Fake:
    """An experiment of no time."""

    def run(self, scale: str, say: Any) -> Any:
        from gamesim.study import Study, at_most

        return Study([at_most("a", "one is at most two", 1.0, 2.0)], [], [{"x": 1}])


def test_any_arguments_end_with_0_1_or_2_and_never_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    Path("inner").mkdir()
    monkeypatch.chdir("inner")
    monkeypatch.setattr(diagnosis, "_devices", lambda: ["cpu"])
    rows = {"fake": (f"{__name__}:Fake", "nothing")}
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "Fake", Fake, raising=False)
    tables = {**{kind: catalog.table(kind) for kind in ("games", "solvers")}, "experiments": rows, "benchmarks": {}}
    monkeypatch.setattr(catalog, "table", tables.__getitem__)

    @settings(
        max_examples=500,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(LEADS, st.lists(WORDS, max_size=5))
    def check(lead: list[str], rest: list[str]) -> None:
        capsys.readouterr()
        code = cli.main([*lead, *rest])
        out, err = capsys.readouterr()
        assert code in (0, 1, 2)
        assert "Traceback" not in err
        if code == 2:
            assert err.count("\n") == 1
        if (
            code == 0
            and "--json" in rest
            and not {"--help", "--", "-h", "--version"} & set(rest)
            and out.startswith(("[", "{"))
        ):
            json.loads(out)

    check()
    assert os.listdir("..") == ["inner"]  # nothing was written elsewhere


def test_a_start_that_is_an_equilibrium_is_said_and_a_random_one_moves(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["run", "matrix/matching-pennies", "fictitious-play", "--iterations", "20", "--json"]
    assert cli.main([*command, "--out", str(tmp_path / "still")]) == 0
    still = capsys.readouterr()
    assert json.loads(still.out)["metrics"]["exploitability"] == {"first": 0, "last": 0, "best": 0}
    assert "try --start random" in still.err
    random = [*command, "--start", "random", "--seeds", "3"]
    for name in ("one", "two"):
        assert cli.main([*random, "--out", str(tmp_path / name)]) == 0
        said = capsys.readouterr()
        assert "--start" not in said.err
        assert json.loads(said.out)["metrics"]["exploitability"]["first"] > 0.05
    assert (tmp_path / "one" / "trace.csv").read_bytes() == (tmp_path / "two" / "trace.csv").read_bytes()
    longer = [*random, "--iterations", "40", "--out", str(tmp_path / "one"), "--resume"]
    assert cli.main(longer) == 0
    assert cli.main([*command, "--seeds", "3", "--out", str(tmp_path / "one"), "--resume"]) == 2  # it began elsewhere
    assert "start" in capsys.readouterr().err
