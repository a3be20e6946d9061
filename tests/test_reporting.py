"""Runs told to other tools: what they hold is what the trace has, once, and nothing they do reaches the run."""

import json
import math
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.loop import Observer, Result, Run, Status
from gamesim.records import Record, settings
from gamesim.reporting import Reporter, report_to, reporter_named
from gamesim.reporting import kinds as reporting_kinds
from gamesim.reporting.points import all_points, ending, newest_points, parameters_of
from gamesim.schedules import Constant
from gamesim.traces import Trace

GAME, SOLVER = "matrix/shapley", "ftrl"
RUN = {"seeds": 3, "every": 2}


def told(
    folder: Path, tools: list[str], iterations: int = 8, resume: bool = False, game: Any = None, solver: Any = None,
    **more: Any,
) -> tuple[Result, list[str]]:  # fmt: skip
    """A run on disk that is told to tools; the result, and what failed."""
    game, solver = game or gs.make(GAME), solver or gs.make_solver(SOLVER, feedback="noisy(1.0)")
    more = more or RUN
    record = Record(folder, settings(game, solver, iterations=iterations, **more), resume=resume)
    try:
        reports = [report_to(tool, record) for tool in tools]
        result = gs.solve(
            game, solver, iterations=iterations, observers=[record, *reports], resume=record.snapshot, **more
        )
        record.finish(result)
    except BaseException:
        record.abandon()
        raise
    return result, [r.failed for r in reports]


def wanted(result: Result) -> dict[str, list[tuple[int, float]]]:
    """Every point of a trace, by name."""
    found = dict[str, list[tuple[int, float]]]()
    for at, name, value in all_points(result.trace):
        found.setdefault(name, []).append((at, value))
    return found


class Stop(Observer):
    """Stops a run dead, as a kill would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def iterated(self, run: Run) -> Status | None:
        if run.iteration == self.at:
            raise KeyboardInterrupt
        return None


# --- points ---------------------------------------------------------------------------------------------------------


def test_the_points_of_a_batch_are_its_mean_and_quartiles() -> None:
    trace = Trace(first_seed=4)
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])
    trace.add(7, {"gap": values})
    found = {name: value for at, name, value in newest_points(trace) if at == 7}
    assert found == {
        "gap/mean": 4.0, "gap/q25": 2.0, "gap/median": 3.0, "gap/q75": 4.0,
        "gap/seed_4": 1.0, "gap/seed_5": 2.0, "gap/seed_6": 3.0, "gap/seed_7": 4.0, "gap/seed_8": 10.0,
    }  # fmt: skip
    trace.add(8, {"gap": torch.tensor([1.0, math.nan, 3.0, math.inf, 5.0])})
    found = {name: value for at, name, value in newest_points(trace)}
    assert (found["gap/mean"], found["gap/median"], found["gap/not_finite"]) == (3.0, 3.0, 2.0)
    assert "gap/seed_5" not in found
    trace.add(9, {"gap": torch.full((5,), math.nan)})
    assert newest_points(trace) == [(9, "gap/not_finite", 5.0)]
    many, one = Trace(), Trace()
    many.add(0, {"gap": torch.arange(9.0)})
    one.add(0, {"gap": torch.tensor(0.5)})
    assert [name for _, name, _ in newest_points(many)] == ["gap/mean", "gap/q25", "gap/median", "gap/q75"]
    assert newest_points(one) == [(0, "gap", 0.5)]


def test_every_parameter_is_told_and_no_secret() -> None:
    config = settings(gs.make(GAME), gs.make_solver(SOLVER, step_size="power(0.5, 0.25)"), iterations=3, seeds=2)
    config |= {"command": "gamesim run --key hunter2", "link": "https://me:hunter2@host/x", "long": "x" * 999}
    found = parameters_of(config)
    assert found["solver.step_size.exponent"] == 0.25
    assert (found["solver.step_size"], found["seeds"], found["link"]) == ("Power", 2, "https://host/x")
    assert len(str(found["long"])) == 250
    assert not any("hunter2" in str(x) for x in found.values())


def test_the_ending_is_the_summary(tmp_path: Path) -> None:
    seen = list[Mapping[str, Any]]()

    class Ending(Observer):
        def end(self, run: Run) -> None:
            seen.append(ending(run))

    game, solver = gs.make(GAME), gs.make_solver(SOLVER, feedback="noisy(1.0)")
    record = Record(tmp_path / "run", settings(game, solver, iterations=8, seeds=3))
    result = gs.solve(game, solver, iterations=8, seeds=3, observers=[record, Ending()])
    summary = record.finish(result)
    for metric, row in summary["metrics"].items():
        assert {name: seen[0][f"{metric}/{name}"] for name in row} == row
    assert {name: seen[0][name] for name in ("status", "iterations")} == {
        name: summary[name] for name in ("status", "iterations")
    }


# --- the tools ------------------------------------------------------------------------------------------------------


def in_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install 'gamesim[tb]'"
    )
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(x.step, x.value) for x in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def without_end(points: dict[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in points.items() if not name.startswith("end/")}


def in_float32(points: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """As event files keep numbers."""
    return {name: [(at, torch.tensor(x).float().item()) for at, x in rows] for name, rows in points.items()}


def test_tensorboard_holds_the_trace_once_however_often_it_is_continued(tmp_path: Path) -> None:
    tools = ["tensorboard", f"tensorboard(folder={tmp_path / 'logs'})"]
    pytest.importorskip("tensorboard", reason="pip install 'gamesim[tb]'")
    game, solver = gs.make(GAME), gs.make_solver(SOLVER, feedback="noisy(1.0)")
    record = Record(tmp_path / "run", settings(game, solver, iterations=8, **RUN))
    reports = [report_to(tool, record) for tool in tools]
    with pytest.raises(KeyboardInterrupt):  # killed before any state was saved
        gs.solve(game, solver, iterations=8, observers=[record, *reports, Stop(5)], **RUN)
    record.abandon()
    (tmp_path / "run/state.safetensors").unlink()
    told(tmp_path / "run", tools, resume=True)
    events = next((tmp_path / "logs/run").iterdir())
    events.write_bytes(events.read_bytes()[:-3])  # torn by a kill
    result, failed = told(tmp_path / "run", tools, iterations=16, resume=True)
    assert failed == ["", ""]
    for folder in (tmp_path / "run/tensorboard", tmp_path / "logs/run"):
        found = in_tensorboard(folder)
        assert without_end(found) == in_float32(wanted(result))
        assert found["end/exploitability/last"][-1][0] == 16
    alone, _ = told(tmp_path / "alone", ["tensorboard"], iterations=16)
    assert (tmp_path / "alone/trace.csv").read_bytes() == (tmp_path / "run/trace.csv").read_bytes()
    assert without_end(in_tensorboard(tmp_path / "alone/tensorboard")) == in_float32(wanted(alone))


def test_tensorboard_shows_the_parameters(tmp_path: Path) -> None:
    loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_file_loader", reason="pip install 'gamesim[tb]'"
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    told(tmp_path / "run", ["tensorboard"], seeds=1)
    (path,) = (tmp_path / "run/tensorboard").iterdir()
    held = {v.tag: v for e in loader.LegacyEventFileLoader(str(path)).Load() for v in e.summary.value}
    begun = HParamsPluginData.FromString(held["_hparams_/session_start_info"].metadata.plugin_data.content)
    parameters = begun.session_start_info.hparams
    assert parameters["game"].string_value.endswith("Shapley")
    assert parameters["solver.feedback.scale"].number_value == 1.0
    assert b"out-of-iterations" in held["end/text_summary"].tensor.string_val[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_holds_the_trace_once_however_often_it_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install 'gamesim[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tools = [f"mlflow(uri={uri}, experiment=shapley)"]
    told(tmp_path / "run", tools)
    result, failed = told(tmp_path / "run", tools, iterations=16, resume=True)
    told(tmp_path / "run", tools, iterations=16, resume=True)
    told(tmp_path / "other", tools, iterations=2)
    assert failed == [""]
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("shapley")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"run", "other"}
    run = runs["run"]
    points = {
        name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }
    assert without_end(points) == wanted(result)
    assert points["end/exploitability/last"][-1] == (16, float(result.exploitability[:, -1].mean()))
    assert [at for at, _ in points["end/exploitability/last"]] == [8, 16]
    assert run.info.status == "FINISHED"
    assert run.data.params["solver.feedback.scale"] == "1.0"
    assert run.data.tags["gamesim.iterations"] == "16"
    assert run.data.tags["gamesim.status"] == "out-of-iterations"
    assert b"canary-mlflow" not in (tmp_path / "mlflow.db").read_bytes()


def test_wandb_holds_the_trace_once_however_often_it_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="pip install 'gamesim[wandb]'")
    from gamesim.reporting.weights_and_biases import history

    monkeypatch.setenv("WANDB_API_KEY", "canary0" * 6)
    monkeypatch.setattr(sys, "argv", ["gamesim", "--secret=canary-argument"])
    result, failed = told(tmp_path / "run", ["wandb(project=shapley)"])
    result, more = told(tmp_path / "run", ["wandb(project=shapley)"], iterations=16, resume=True)
    assert failed + more == ["", ""]
    files = [p for p in (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")]
    assert len(files) == 2
    rows = [row for path in sorted(files, key=lambda p: p.stat().st_mtime) for row in history(path)]
    found = dict[str, list[tuple[int, float]]]()
    for step, row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append((step, value))
    assert without_end(found) == {name: [(at, pytest.approx(x)) for at, x in y] for name, y in wanted(result).items()}
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file() and path.name != "config.json":
            assert b"canary" not in path.read_bytes(), path


# --- what goes wrong ------------------------------------------------------------------------------------------------


class Broken:
    """Fails after so many writes."""

    def __init__(self, good: int, error: Exception) -> None:
        self.good, self.error = good, error
        self.newest = dict[str, int]()

    def write(self, points: Any) -> None:
        self.good -= 1
        if self.good < 0:
            raise self.error

    def close(self, ending: Any) -> None:
        self.write([])


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tool whose writer is what one says."""
    known = dict(Reporter.kinds)

    class Breaking(Reporter):
        package, extra = "torch", "none"
        opened: Any = None

        def require(self, place: Any) -> None:
            pass

        def target(self, place: Any) -> str:
            return ""

        def open(self, place: Any, parameters: Any) -> Any:
            return type(self).opened()

    yield Breaking
    Reporter.kinds.clear()
    Reporter.kinds.update(known)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), ValueError(), RuntimeError("a\nb" * 400)],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("good", [-1, 0, 1])
def test_a_writer_that_fails_stops_nothing(
    good: int, error: Exception, breaking: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def opened() -> Broken:
        if good < 0:
            raise error
        return Broken(good, error)

    breaking.opened = staticmethod(opened)
    game, solver = gs.make(GAME), gs.make_solver(SOLVER, feedback="noisy(1.0)")
    report = report_to(breaking())
    result = gs.solve(game, solver, iterations=20, observers=[report], **RUN)
    plainly = gs.solve(game, solver, iterations=20, **RUN)
    assert result.trace.rows() == plainly.trace.rows()
    assert report.failed.startswith(type(error).__name__)
    said = capsys.readouterr().err
    assert said.startswith("note: breaking: ")
    assert said.endswith("the run goes on without it\n")
    assert said.count("\n") == 1
    assert len(said) < 500


def test_a_writer_that_hangs_is_left_behind(breaking: Any, capsys: pytest.CaptureFixture[str]) -> None:
    release = threading.Event()

    class Hanging(Broken):
        def write(self, points: Any) -> None:
            release.wait(60)

    breaking.opened = staticmethod(lambda: Hanging(0, ValueError()))
    report = report_to(breaking(), patience=0.05)
    result = gs.solve(gs.make(GAME), gs.make_solver(SOLVER), iterations=5, observers=[report])
    assert result.iterations == 5
    assert "nothing was taken for 0.05 seconds" in capsys.readouterr().err
    release.set()


def test_what_a_failed_writer_missed_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'gamesim[tb]'")
    from gamesim.reporting.event_files import EventFiles

    write = EventFiles.write
    with monkeypatch.context() as patched:

        def full(self: Any, points: Any) -> None:
            write(self, list(points)[:1])
            raise OSError(28, "No space left on device")

        patched.setattr(EventFiles, "write", full)
        _, failed = told(tmp_path / "run", ["tensorboard"])
    assert "No space left" in failed[0]
    result, failed = told(tmp_path / "run", ["tensorboard"], resume=True)
    assert failed == [""]
    assert without_end(in_tensorboard(tmp_path / "run/tensorboard")) == in_float32(wanted(result))


def test_members_that_diverge_are_counted_and_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'gamesim[tb]'")
    steps = Constant(torch.tensor([0.01, 1e200], dtype=torch.float64))
    game, solver = gs.make("variational/quadratic"), gs.make_solver("gradient-descent-ascent", step_size=steps)
    with pytest.warns(gs.Caution):
        told(tmp_path / "run", ["tensorboard"], game=game, solver=solver, iterations=4, every=1)
    found = in_tensorboard(tmp_path / "run/tensorboard")
    assert all(math.isfinite(x) for rows in found.values() for _, x in rows)
    metric = next(name.partition("/")[0] for name in found if name.endswith("/not_finite"))
    assert found[f"{metric}/not_finite"][-1] == (4, 1.0)
    assert found[f"{metric}/mean"][-1][0] == 4


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("tensorbored", "did you mean tensorboard"),
        ("tensorboard(dir=x)", "expected one of folder"),
        ("mlflow(uri=file:///x)", "a store such as sqlite:///mlflow.db"),
        ("mlflow(uri=https://me:hunter2@host)", "MLFLOW_TRACKING_PASSWORD"),
        ("mlflow(uri=https://[)", "a store such as"),
        ("mlflow(experiment= )", "a name"),
        ("wandb(mode=live)", "offline"),
        ("wandb(project=a/b)", "a name without"),
        ("", "expected one of"),
        ("mlflow(", "expected one of"),
    ],
)
def test_what_is_wrong_before_the_run_is_refused(tool: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        reporter_named(tool)
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_places_that_cannot_be_are_refused_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting_kinds, "find_spec", lambda name: name)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("")
    logs = tmp_path / "logs/run"
    logs.mkdir(parents=True)
    (logs / "events.out.tfevents.1.host.1").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    for tool, words in [
        (f"tensorboard(folder={tmp_path / 'logs'})", "without the events of another run"),
        (f"tensorboard(folder={tmp_path / 'file'})", "folder"),
        (f"mlflow(uri=sqlite:///{tmp_path}/nowhere/x.db)", "a file in a folder that is there"),
        ("wandb(mode=online)", "WANDB_API_KEY"),
    ]:
        with pytest.raises(InvalidInput, match=words):
            told(tmp_path / "run", [tool])
        assert sorted(tmp_path.rglob("*")) == before
    for tool in ("tensorboard", "wandb"):
        with pytest.raises(InvalidInput, match="this run has none"):
            gs.solve(gs.make(GAME), gs.make_solver(SOLVER), iterations=2, observers=[report_to(tool)])


@pytest.mark.parametrize("tool", ["tensorboard", "mlflow", "wandb"])
def test_missing_packages_say_how_to_install_them(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting_kinds, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=rf"^{tool} needs \w+: pip install 'gamesim\[(tb|mlflow|wandb)\]'$"):
        reporter_named(tool)


def test_a_spoiled_note_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'gamesim[tb]'")
    told(tmp_path / "run", ["tensorboard"])
    for text in ("[]", '{"tensorboard ": 3}', "{"):
        (tmp_path / "run/reports.json").write_text(text)
        with pytest.raises(InvalidInput, match=r"reports\.json"):
            told(tmp_path / "run", ["tensorboard"], resume=True)
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "out-of-iterations"
