"""Sweeps: the file is checked whole, batches are the runs one by one, and nothing is lost, whatever dies."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim.cli import main
from gamesim.errors import InvalidInput
from gamesim.parameters import Positive, check
from gamesim.records import read_trace
from gamesim.states import mapped
from gamesim.sweeps.axes import axis
from gamesim.sweeps.batches import Batch, batched, shape_of, stack
from gamesim.sweeps.design import plan_of
from gamesim.sweeps.engines import Event
from gamesim.sweeps.local import ended
from gamesim.sweeps.results import notes_of
from gamesim.sweeps.scheduler import sweep

SMALL = """
iterations = 20
seeds = 2
every = 5
[[runs]]
game = ["matrix/chicken", "matrix/shapley"]
solver = "ftrl"
s = { step_size = [0.1, 0.5], feedback = "bandit" }
"""


class Here:
    """An engine that works in this process, one batch at a time: what any engine must give the same bits as."""

    slots = 1

    def __init__(self, dies: Callable[[Batch], str | None] = lambda batch: None) -> None:
        self._events, self._dies, self.started = list[Event](), dies, list[str]()

    def open(self, root: Path, threads: int) -> None:
        self._root, self._threads = root, threads

    def start(self, batch: Batch) -> None:
        self.started.append(batch.name)
        error = self._dies(batch)
        if error is not None:
            self._events.append(Event(batch, 0, "lost" if error == "lost" else "failed", error))
            return
        end, words = ended(self._root, batch, self._threads, lambda iteration: None)
        self._events.append(Event(batch, 0, end, words))

    def wait(self, seconds: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stop(self) -> None: ...

    def close(self) -> None: ...


def done(text: str, folder: Path, engine: Any = None, **options: Any) -> dict[str, Any]:
    return sweep(plan_of(text), folder, engine or Here(), **options)[0]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "small"
    assert done(SMALL, folder)["status"] == "done"
    return folder


# the file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "runs: got None, expected at least one table"),
        ("runs = 3", "runs: got 3"),
        ("[[runs]]", r"runs\[0\].game: got None, expected an id"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrll'", "did you mean ftrl"),
        ("[[runs]]\ngame='matrix/chickn'\nsolver='ftrl'", "did you mean matrix/chicken"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='gmfg-ppo'", "game: got 'Chicken'"),
        ("iteration=3\n[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'", "did you mean iterations"),
        ("seeds=0\n[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'", "seeds: got 0, expected a whole number from 1"),
        ("every=0\n[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'", "every: got '0'"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\nseed=-1", r"runs\[0\].seed: got -1"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size=[]}", r"runs\[0\].s.step_size: got '\[\]'"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size=[1, 1]}", "each value once"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size=-1}", "step_size: got constant"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size=nan}", "expected a finite number"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size={log=[0, 1], count=3}}", "above 0"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size={log=[1, 2]}}", "count: got None"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size={log=[1, 2], counts=3}}", "did you mean count"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size={uniform=[1, 2]}}", 'design = "random"'),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ndesign='random'", "draws: got None"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ndesign='random'\ndraws=3", "no parameter is there"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ndesign='gird'", "did you mean grid"),
        ("seeds=50000\n[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\ns={step_size=[1, 2, 3]}", "150,000 runs"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\n" * 2, "each run once"),
        ("[[runs]]\ngame='os:system'\nsolver='ftrl'", "--allow os:system"),
        ("[[runs]]\ngame='matrix/chicken'\nsolver='os:system'", "imports nothing by itself"),
        ("[[runs]\n", "no TOML"),
        ("a=" + "[" * 5000, "no TOML"),
        (".".join("a" * 50_000) + "=1", "more than 60 parts"),
        ("[tune]\n[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'", "tune: got 'nothing to choose'"),
    ],
)  # fmt: skip
def test_a_file_is_refused_in_a_line(text: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        plan_of(text)
    assert "\n" not in str(refused.value)


def test_axes() -> None:
    assert axis("x", 3, "x").values == ("3",)
    assert axis("x", [True, "a", 0.5, [1, 2]], "x").values == ("true", "a", "0.5", "[1, 2]")
    assert axis("x", {"log": [0.01, 1], "count": 3}, "x").values == ("0.01", "0.1", "1.0")
    assert axis("x", {"linear": [0, 1], "count": 3}, "x").values == ("0.0", "0.5", "1.0")
    law = axis("x", {"integers": [1, 3]}, "x")
    assert [law.at(u) for u in (0.0, 0.34, 0.5, 0.999999999)] == ["1", "2", "2", "3"]
    assert float(axis("x", {"log-uniform": [0.01, 1]}, "x").at(0.5)) == pytest.approx(0.1)
    assert axis("x", {"uniform": [2, 4]}, "x").at(0.25) == "2.5"


def test_designs() -> None:
    head = "[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\n"
    grid = plan_of(head + "s={step_size=[0.1, 0.2], anticipation=[0.0, 1.0]}")
    assert [tuple(r.s.values()) for r in grid.runs] == [(a, b) for a in ("0.1", "0.2") for b in ("0.0", "1.0")]
    pairs = plan_of(head + "design='list'\ns={step_size=[0.1, 0.2], anticipation=[0.0, 1.0]}")
    assert [tuple(r.s.values()) for r in pairs.runs] == [("0.1", "0.0"), ("0.2", "1.0")]
    with pytest.raises(InvalidInput, match=r"[12] values"):
        plan_of(head + "design='list'\ns={step_size=[0.1, 0.2], anticipation=[0.0, 0.5, 1.0]}")
    for design in ("random", "sobol"):
        law = f"design='{design}'\ndraws=64\ns={{step_size={{log-uniform=[0.001, 1.0]}}}}"
        one, same = plan_of(head + law), plan_of(head + law)
        other = plan_of(head + "design_seed=1\n" + law)
        assert one.plain() == same.plain() != other.plain()
        sizes = torch.tensor([float(r.s["step_size"]) for r in one.runs]).log10()
        assert bool(((sizes >= -3) & (sizes <= 0)).all())
        assert abs(float((sizes < -1.5).float().mean()) - 0.5) < (0.2 if design == "random" else 0.02)


def test_parameters_reach_inside_by_a_table() -> None:
    given = "g={graphon='power-law', 'graphon.a'=[0.2, 0.4], normalize=true, positions=3}"
    text = f"[[runs]]\ngame='graphon/sis'\nsolver='gmfg-ppo'\n{given}"
    assert [r.g["graphon.a"] for r in plan_of(text).runs] == ["0.2", "0.4"]
    dotted = "[[runs]]\ngame='graphon/sis'\nsolver='gmfg-ppo'\n[runs.g]\npositions=3\ngrid.rule='midpoint'\n"
    with pytest.raises(InvalidInput, match="grid"):
        plan_of(dotted)


# batches


def test_what_is_done_together() -> None:
    """Seeds and step sizes share a batch; games, feedbacks and zero do not."""
    text = (
        SMALL + "[[runs]]\ngame='matrix/chicken'\nsolver='ftrl'\n"
        "s={step_size=0.3, feedback='exact', anticipation=[0.0, 0.5, 1.0]}"
    )
    batches = batched(plan_of(text).runs)
    assert [len(b.runs) for b in batches] == [4, 4, 2, 4]
    assert [len(b.runs) for b in batched(plan_of("batch=3\n" + SMALL).runs)] == [3, 1, 3, 1]


def test_a_stack_has_a_tensor_where_solvers_differ() -> None:
    two = [gs.make_solver("ftrl", step_size=x) for x in ("power(1, 0.5)", "power(2, 0.5)")]
    assert shape_of(two[0]) == shape_of(two[1])
    stacked = stack(two)
    assert stacked.step_size.scale.tolist() == [1.0, 2.0]
    assert stacked.step_size.exponent == 0.5
    assert stack(two[:1] * 2) is two[0]


def test_a_batch_is_its_runs_one_by_one(small: Path, tmp_path: Path) -> None:
    for run in plan_of(SMALL).runs[::3]:
        command = run.command.split()[1:]
        assert main([*command, "--out", str(tmp_path / run.name), "--json"]) == 0
        alone = read_trace(tmp_path / run.name)
        mine = [r for r in rows(small) if r["run"] == run.name]
        assert [(int(r["iteration"]), r["metric"], float(r["value"])) for r in mine] == [
            (iteration, metric, float(values[i]))
            for i, iteration in enumerate(alone.iterations)
            for metric, values in alone.metrics.items()
        ]


# nothing is lost


def test_the_table(small: Path) -> None:
    table = rows(small)
    assert list(table[0]) == [
        "run", "game", "solver", "s.feedback", "s.step_size", "seed", "status", "iteration", "metric", "value",
    ]  # fmt: skip
    assert len({r["run"] for r in table}) == 8
    assert {r["status"] for r in table} == {"out-of-iterations"}
    summary = json.loads((small / "summary.json").read_text())
    assert (summary["runs"], summary["done"], summary["failed"], summary["missing"]) == (8, 8, 0, 0)
    assert [b["game"] for b in summary["best"]] == ["matrix/chicken"] * 2 + ["matrix/shapley"] * 2


def test_what_died_is_begun_again(small: Path, tmp_path: Path) -> None:
    engine = Here(lambda batch: "lost" if engine.started.count(batch.name) <= 2 else None)
    done(SMALL, tmp_path / "s", engine)
    assert engine.started == ["b0"] * 3 + ["b1"] * 3
    assert (tmp_path / "s" / "results.csv").read_bytes() == (small / "results.csv").read_bytes()


def test_what_fails_is_taken_apart(small: Path, tmp_path: Path) -> None:
    def dies(batch: Batch) -> str | None:
        return "ValueError: no" if any(run.name == "2" for run in batch.runs) else None

    summary = done(SMALL, tmp_path / "s", Here(dies))
    assert (summary["done"], summary["failed"], summary["status"]) == (7, 1, "failed")
    assert summary["failures"][0]["run"] == "2"
    assert summary["failures"][0]["command"].startswith("gamesim run matrix/chicken ftrl -s step_size=0.5")
    assert [r for r in rows(small) if r["run"] != "2"] == rows(tmp_path / "s")
    again = Here()
    assert done(SMALL, tmp_path / "s", again, resume=True)["status"] == "done"
    assert again.started == ["b0", "b0.2"] or again.started == ["b0"]
    assert rows(tmp_path / "s") == rows(small)


def test_one_that_diverges_is_said_and_the_others_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = "[[runs]]\ngame='matrix/chicken'\nsolver='test_sweeps:Wild'\ns={step_size=[0.1, 0.9, 0.2]}"
    text = f"iterations=40\nevery=10\n{block}"
    monkeypatch.setitem(sys.modules, "test_sweeps", sys.modules[__name__])
    with pytest.raises(InvalidInput, match="--allow test_sweeps:Wild"):
        plan_of(text)
    plan = plan_of(text, ["test_sweeps:Wild"])
    summary, code = sweep(plan, tmp_path / "s", Here())
    assert (code, summary["diverged"], summary["done"]) == (1, 1, 3)
    table = rows(tmp_path / "s")
    assert {r["run"]: r["status"] for r in table} == {
        "0": "out-of-iterations",
        "1": "diverged",
        "2": "out-of-iterations",
    }
    assert [r["value"] for r in table if r["run"] == "1"][-1] == "nan"
    assert not any(r["value"] == "nan" for r in table if r["run"] != "1")


@dataclass(frozen=True)
class Wild:
    """A solver whose large steps lead nowhere."""

    step_size: Positive = 0.1

    def __post_init__(self) -> None:
        check(self)

    def init(self, game: Any) -> Any:
        return gs.make_solver("ftrl").init(game)

    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        after = gs.make_solver("ftrl", step_size=0.1, feedback="exact").step(t, game, state, generator)
        bad = (torch.as_tensor(self.step_size) > 0.5) & torch.tensor(t >= 13)
        return mapped(after, lambda _, x: torch.where(bad.expand_as(x), torch.nan, x) if x.is_floating_point() else x)


def test_resume_wants_the_same_file(small: Path, tmp_path: Path) -> None:
    done(SMALL, tmp_path / "s")
    with pytest.raises(InvalidInput, match="add --resume"):
        done(SMALL, tmp_path / "s")
    with pytest.raises(InvalidInput, match=r"resume: got 'asked.*iterations = 21 where the run has 20"):
        done(SMALL.replace("iterations = 20", "iterations = 21"), tmp_path / "s", resume=True)
    engine = Here()
    done(SMALL, tmp_path / "s", engine, resume=True)
    assert engine.started == []
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine.txt").write_text("x")
    with pytest.raises(InvalidInput, match=r"no plan\.json"):
        done(SMALL, tmp_path / "t", resume=True)


def test_a_polite_stop(tmp_path: Path) -> None:
    file, out = tmp_path / "s.toml", tmp_path / "s"
    file.write_text(SMALL.replace("iterations = 20", "iterations = 100000").replace("every = 5", 'every = "log"'))
    file.write_text(
        file.read_text()
        .replace('feedback = "bandit"', 'feedback = "exact"')
        .replace("ftrl", "replicator")
        .replace("s = {", "#")
    )
    command = [sys.executable, "-m", "gamesim", "sweep", str(file), "--out", str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for _ in range(600):
        if list(out.glob("batches/*/trace.csv")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(text)["status"] == "interrupted"
    assert not (out / "DONE").exists()
    assert list(out.glob("batches/*/state.safetensors"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SMALL)
    assert main(["sweep", str(file), "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["runs"]) == 8
    assert set(plan["batches"]) == {"b0", "b1"}
    assert main(["sweep", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_workers_noted_is_said_once(tmp_path: Path) -> None:
    """Each note once, with how many batches had it; other lines of a log, and the same again, count nothing."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "b0.txt").write_text("note: only here\nnote: a\nnote: a\nTraceback\n")
    (tmp_path / "logs" / "b1.txt").write_text("note: a\n")
    assert notes_of(tmp_path) == ["a (2 batches)", "only here"]
    assert notes_of(tmp_path / "none") == []


def test_a_worker_writes_its_cautions_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "iterations = 2\n[[runs]]\ngame='matrix/shapley'\nsolver='ftrl'\n"
    done(text, tmp_path / "s")
    assert capsys.readouterr().err.startswith("note: start: the game's own starting policy is an equilibrium")
