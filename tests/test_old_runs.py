"""Runs that earlier versions left: this one reads, draws, continues and exports them (tests/keep_runs.py)."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import gamesim as gs
import keep_runs
from gamesim import cli, running
from gamesim.cli import exporting as _exporting  # noqa: F401
from gamesim.data import SetData
from gamesim.files import read_json
from gamesim.making import make, make_solver
from gamesim.records import Record, load_best, load_snapshot, read_trace, settings
from gamesim.traces import Trace
from keep_runs import HALF, ROOM, WHOLE

VERSIONS = sorted(path.name for path in ROOM.iterdir() if path.is_dir())
ALL = [(version, path.parent.name) for version in VERSIONS for path in sorted((ROOM / version).glob("*/config.json"))]
CONTINUED = [(version, name) for version, name in ALL if (ROOM / version / name / "continued.csv").exists()]


@pytest.fixture
def room(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a version left, from which commands are given."""
    version = request.node.callspec.params["version"]
    shutil.copytree(ROOM / version, tmp_path / version)
    monkeypatch.chdir(tmp_path / version)
    return tmp_path / version


def assert_alike(found: Trace, kept: Trace, relative: float = 1e-9) -> None:
    """The same numbers, as far as other processors and versions of libraries round alike."""
    assert found.iterations == kept.iterations
    assert found.metrics.keys() == kept.metrics.keys()
    for name, values in kept.metrics.items():
        was = [x for value in values for x in value.reshape(-1).tolist()]
        now = [x for value in found.metrics[name] for x in value.reshape(-1).tolist()]
        size = max((abs(x) for x in was if math.isfinite(x)), default=0.0)
        assert now == pytest.approx(was, abs=relative * size + 1e-12, nan_ok=True), name


def test_this_version_has_left_its_runs() -> None:
    assert gs.__version__ in VERSIONS, "a new version: .venv/bin/python tests/keep_runs.py, and commit what it wrote"
    kept = {name for version, name in ALL if version == gs.__version__}
    assert kept == {*keep_runs.RUNS, "killed", "partly-diverged"}
    sizes = [path.stat().st_size for path in (ROOM / gs.__version__).rglob("*") if path.is_file()]
    assert sum(sizes) < 300_000


@pytest.mark.parametrize(("version", "name"), ALL)
def test_old_runs_are_read_and_drawn(version: str, name: str, room: Path) -> None:
    config, trace = read_json(room / name / "config.json"), read_trace(room / name)
    assert config["versions"]["gamesim"] == version
    assert trace.iterations[0] == 0
    snapshot = load_snapshot(room / name, config["every"])
    assert snapshot is not None
    assert snapshot.iteration <= HALF
    figure = gs.draw(str(room / name))
    assert figure.axes
    diverged = name in ("diverged", "partly-diverged")
    if name != "killed":
        assert read_json(room / name / "summary.json")["status"] == ("diverged" if diverged else "out-of-iterations")
        assert (room / name / "DONE").read_text().startswith("diverged" if diverged else "out-of-iterations")


@pytest.mark.parametrize(("version", "name"), CONTINUED)
def test_old_runs_go_on_as_they_would_have_then(version: str, name: str, room: Path) -> None:
    (room / name / "continued.csv").rename(room / "continued.csv")
    assert keep_runs.run(name, name, WHOLE, "--resume") == 0
    shutil.copytree(room / name, room / "then", ignore=lambda *_: ["trace.csv"])
    (room / "continued.csv").rename(room / "then" / "trace.csv")
    assert_alike(read_trace(room / name), read_trace(room / "then"), 1e-4 if name == "sets" else 1e-9)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_run_that_was_killed_goes_on_as_one_that_was_not(version: str, room: Path) -> None:
    game, solver = make("matrix/chicken"), make_solver("ftrl")
    config = settings(game, solver, ids=("matrix/chicken", "ftrl"), iterations=WHOLE, seeds=2, every=2, start="random")
    asked: dict[str, Any] = {"iterations": WHOLE, "seeds": 2, "every": 2}
    start = running.random_start(game, 2, 0)
    record = Record(room / "killed", config, resume=True)
    assert record.snapshot is not None
    result = gs.solve(game, solver, **asked, start=start, observers=[record], resume=record.snapshot)
    record.finish(result)
    assert_alike(read_trace(room / "killed"), gs.solve(game, solver, **asked, start=start).trace)


@pytest.mark.parametrize("version", VERSIONS)
def test_old_data_estimates_policies_and_transcripts_are_read(version: str, room: Path) -> None:
    data = SetData.load(room / "data" / "spread.npz")
    assert str(data) == "75 transitions of 3 episodes, 2 agents, sets/spread by random"
    fitted = make("graphon/fitted", data="data/agents.fit.json")
    assert math.isfinite(float(fitted.exploitability(fitted.start())))
    policy, iteration = load_best(room / "sets")
    assert iteration in read_trace(room / "sets").iterations
    assert all(bool(x.isfinite().all()) for x in policy)
    again = gs.solve(
        make("latent/needle", boxes=4), make_solver("bail", planner="replay(file=planner)"),
        iterations=HALF, seeds=2,
    )  # fmt: skip
    assert_alike(again.trace, read_trace(room / "planner"))


@pytest.mark.parametrize("version", VERSIONS)
def test_old_runs_are_exported_and_compared(version: str, room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "graphon", "--to", "npz", "--out", "graphon.npz"]) == 0
    assert cli.main(["draw", "tabular", "killed", "--out", "both", "--json"]) == 0
    assert {"graphon.npz", "both"} <= set(os.listdir(room))
