"""Results for other programs: what is exported is what the run has, and it is read without gamesim."""

import csv
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim import cli
from gamesim.attention import Layout
from gamesim.cli import exporting  # noqa: F401  registers the command
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.exports import export, read_run
from gamesim.exports.tables import results_table, write_table
from gamesim.loop import Result
from gamesim.records import settings
from gamesim.schedules import Constant
from page_blocks import blocks

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = (
    "deep-sets(width=8)",
    "deep-sets(width=8, layers=1)",
    "gcn(width=8)",
    "gcn(width=8, layers=1, pool=max)",
    "mlp(width=8)",
    "set-transformer(width=8, heads=2)",
    "set-transformer(width=8, heads=2, blocks=1, loops=2, attention=sigmoid, points=3)",
    "set-transformer(width=8, heads=2, blocks=1, attention=linear)",
)


def recorded(folder: Path, game: Any, solver: Any, iterations: int = 3, **more: Any) -> Result:
    """A run on disk."""
    record = gs.Record(folder, settings(game, solver, iterations=iterations, **more))
    result = gs.solve(game, solver, iterations=iterations, observers=[record], **more)
    record.finish(result)
    return result


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The program of docs/interoperability.md."""
    (program,) = (b.text for b in blocks() if b.file == "reader.py")
    path = tmp_path_factory.mktemp("reader") / "reader.py"
    path.write_text(program, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("reader", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "solver", "axes"),
    [
        ("matrix/shapley", "ftrl", ["seed", "action"]),
        ("stochastic/two-state", "policy-gradient", ["seed", "state", "action"]),
        ("graphon/sis", "gmfg-ppo", ["seed", "step", "position", "state", "action"]),
        ("mean-field/left-right", "fictitious-play", ["seed", "step", "position", "state", "action"]),
        ("bandits/speculative-decoding", "ucb-spec", ["seed", "arm"]),
        ("variational/bilinear", "extragradient", ["seed", "coordinate"]),
        ("latent/needle", "bail", ["seed", "latent"]),
    ],
)
def test_tables(game: str, solver: str, axes: list[str], tmp_path: Path) -> None:
    small = {"positions": 3, "horizon": 2} if game == "graphon/sis" else {}
    result = recorded(tmp_path / "run", gs.make(game, **small), gs.make_solver(solver), seeds=2, seed=5)
    run = read_run(tmp_path / "run")
    assert all(torch.equal(x, y) for x, y in zip(run.policy, result.policy, strict=True))
    assert run.trace.rows() == result.trace.rows()
    assert run.summary is not None
    assert run.summary["status"] == result.status.label
    with np.load(export(run, tmp_path / "policy.npz"), allow_pickle=False) as file:
        assert file["axes.0"].tolist() == axes
        assert file["labels.0.seed"].tolist() == [5, 6]
        for i, x in enumerate(result.policy):
            np.testing.assert_array_equal(file[f"policy.{i}"], x.numpy())
        assert json.loads(str(file["about"]))["game"]["parameters"] == run.config["game"]["parameters"]
    with export(run, tmp_path / "policy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["player", *axes, "value" if "coordinate" in axes else "probability"]
    assert [float(list(row.values())[-1]) for row in rows] == [p for x in result.policy for p in x.flatten().tolist()]
    (alone,) = (export(run, tmp_path / "one.npz", member=1) for _ in "1")
    with np.load(alone, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["policy.0"], result.policy[0][1].numpy())
        assert file["axes.0"].tolist() == axes[1:]


def test_labels_are_the_names_of_the_game(tmp_path: Path) -> None:
    recorded(tmp_path / "run", gs.make("graphon/sis", positions=3, horizon=2), gs.make_solver("gmfg-ppo"))
    with export(tmp_path / "run", tmp_path / "policy.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {r["state"] for r in rows} == {"susceptible", "infected"}
    assert {r["action"] for r in rows} == {"go out", "stay in"}
    assert len({r["position"] for r in rows}) == 3
    for at in range(0, len(rows), 2):
        assert float(rows[at]["probability"]) + float(rows[at + 1]["probability"]) == pytest.approx(1)


def test_batches_averages_and_members_that_diverged(tmp_path: Path) -> None:
    game = gs.MatrixGame.zero_sum(torch.tensor([[0.0, 1.0], [1.0, 0.2]], dtype=torch.float64))
    solver = gs.make_solver("ftrl", step_size=Constant(torch.tensor([0.1, 0.5, 1.0])))
    result = recorded(tmp_path / "a", game, solver, seeds=2, average=True)
    with pytest.raises(InvalidInput, match="MatrixGame"):
        _ = read_run(tmp_path / "a").policy  # a game without a name cannot be built again
    named = recorded(tmp_path / "b", gs.make("matrix/shapley"), solver, seeds=2, average=True)
    run = read_run(tmp_path / "b")
    assert run.policy[0].shape == (2, 3, 3)
    assert torch.equal(run.policy[1], named.policy[1])
    with np.load(export(run, tmp_path / "policy.npz")) as file:
        assert file["axes.0"].tolist() == ["seed", "batch_0", "action"]
    problem = gs.make("variational/quadratic")
    wild = gs.make_solver(
        "gradient-descent-ascent", step_size=Constant(torch.tensor([0.01, 1e200], dtype=torch.float64))
    )
    with pytest.warns(gs.Caution):
        lost = recorded(tmp_path / "c", problem, wild, iterations=5)
    found = read_run(tmp_path / "c").policy[0]
    assert lost.diverged.tolist() == [False, True]
    assert torch.equal(found.isnan(), lost.policy[0].isnan())
    assert torch.equal(found[0], lost.policy[0][0])
    del result


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'gamesim[data]'")
    result = recorded(tmp_path / "run", gs.make("matrix/shapley"), gs.make_solver("ftrl"), seeds=3)
    trace = parquet.read_table(export(tmp_path / "run", tmp_path / "trace.parquet", what="trace"))
    assert list(zip(*trace.to_pydict().values(), strict=True)) == result.trace.rows()
    policy = parquet.read_table(export(tmp_path / "run", tmp_path / "policy.parquet"))
    assert policy["probability"].to_pylist() == [p for x in result.policy for p in x.flatten().tolist()]
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "plan.json").write_text("{}")
    text = "run,game,solver,s.step_size,s.feedback,seed,status,iteration,metric,value\n"
    text += "7,matrix/shapley,ftrl,0.1,bandit,0,converged,10,exploitability,0.5\n"
    text += "8,matrix/shapley,ftrl,1e-05,,0,diverged,10,exploitability,nan\n"
    (sweep / "results.csv").write_text(text)
    assert cli.main(["export", str(sweep), "--to", "parquet"]) == 0
    found = parquet.read_table(sweep / "results.parquet")
    assert found["run"].to_pylist() == ["7", "8"]
    assert found["s.step_size"].to_pylist() == [0.1, 1e-05]
    assert found["s.feedback"].to_pylist() == ["bandit", None]
    assert str(found["iteration"].type) == "int64"
    assert [math.isnan(x) for x in found["value"].to_pylist()] == [False, True]
    assert cli.main(["export", str(sweep), "--to", "csv"]) == 2  # would be its own results.csv
    assert (sweep / "results.csv").read_text() == text


# --- networks -------------------------------------------------------------------------------------------------------


def laws(out: Tensor, game: Any) -> dict[str, Tensor]:
    """What the outputs of a policy network mean."""
    if game.play.header["actions"][0] == "discrete":
        return {"probabilities": out.softmax(-1)}
    mean, log_sigma = out.chunk(2, -1)
    return {"mean": mean, "log_sigma": log_sigma.clamp(-5, 2)}


@pytest.mark.parametrize("network", NETWORKS)
def test_policies_of_sets_in_plain_torch_and_onnx(network: str, reader: ModuleType, tmp_path: Path) -> None:
    world = "sets/spread" if NETWORKS.index(network) % 2 == 0 else "sets/spread(actions=continuous)"
    game = gs.make("sets/offline", episodes=4, evaluation_episodes=1, behaviour="expert", world=world)
    solver = gs.make_solver("bc", network=network, batch_size=8, step_size=0.1)
    result = recorded(tmp_path / "run", game, solver, seeds=2)
    weights, about = reader.load(export(tmp_path / "run", tmp_path / "p.safetensors", member=1))
    assert about["features"] == ["x", "y", "vx", "vy"]
    sets, rows = 3, game.most
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(sets, rows, 4, generator=draw)
    kinds, acting = torch.tensor([0] * 3 + [1] * (rows - 3)), torch.tensor([2, 0, 1])
    given = {"tokens": tokens, "kinds": kinds, "acting": acting}
    found = reader.outputs(weights, about["network"], **given)
    places = (acting + torch.arange(sets)[:, None] * rows).flatten()
    actor, own = solver.actor(game), [x[1] for x in result.policy]
    out = actor.network(own, game.seen(tokens, kinds).flatten(0, 1), Layout.repeated(rows, sets), places)
    wanted = laws(out.reshape(sets, 3, -1), game)
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        torch.testing.assert_close(found[name], x, rtol=1e-5, atol=1e-5)
    pytest.importorskip("onnx", reason="pip install 'gamesim[onnx]'")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    session = runtime.InferenceSession(str(export(tmp_path / "run", tmp_path / "p.onnx", member=1)))
    there = session.run(list(wanted), {name: x.numpy() for name, x in given.items()})
    for x, y in zip(there, wanted.values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(x), y, rtol=1e-5, atol=1e-5)


def test_smaller_sets_of_an_mlp_are_filled_up(reader: ModuleType, tmp_path: Path) -> None:
    game = gs.make("sets/offline", episodes=4, evaluation_episodes=1, agents="[2, 3]")
    solver = gs.make_solver("bc", network="mlp(width=8)", batch_size=8, step_size=0.1)
    result = recorded(tmp_path / "run", game, solver)
    weights, about = reader.load(export(tmp_path / "run", tmp_path / "p.safetensors"))
    small, most = 4, game.most
    tokens, kinds = torch.randn(1, small, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 1, 1])
    filled = torch.cat([tokens, torch.zeros(1, most - small, 4)], -2)
    more = torch.cat([kinds, torch.full((most - small,), len(about["kinds_of_entity"]))])
    found = reader.outputs(weights, about["network"], tokens=filled, kinds=more, acting=torch.tensor([0, 1]))
    out = solver.actor(game).network(
        result.policy, game.seen(tokens, kinds)[0], Layout.of([small]), torch.tensor([0, 1])
    )
    torch.testing.assert_close(found["probabilities"][0], out.softmax(-1), rtol=1e-5, atol=1e-6)


def test_players_in_plain_torch_and_onnx(reader: ModuleType, tmp_path: Path) -> None:
    game = gs.make("stochastic/random", state_count=4)
    solver = gs.make_solver("independent-ppo", episodes=8, hidden="[8, 5]")
    result = recorded(tmp_path / "run", game, solver, seeds=3)
    weights, about = reader.load(export(tmp_path / "run", tmp_path / "p.safetensors", member=2))
    everywhere = {name: torch.arange(4) for name in about["network"]["inputs"]}
    found = reader.outputs(weights, about["network"], **everywhere)
    assert len(found) == len(result.policy)
    for i, x in enumerate(result.policy):
        torch.testing.assert_close(found[f"probabilities_{i}"], x[2], rtol=1e-12, atol=1e-12)
    with np.load(export(tmp_path / "run", tmp_path / "p.npz")) as file:  # the same policy is a table, too
        np.testing.assert_array_equal(file["policy.1"], result.policy[1].numpy())
    pytest.importorskip("onnx", reason="pip install 'gamesim[onnx]'")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    session = runtime.InferenceSession(str(export(tmp_path / "run", tmp_path / "p.onnx", member=2)))
    for i, x in enumerate(session.run(list(found), {name: x.numpy() for name, x in everywhere.items()})):
        np.testing.assert_allclose(x, result.policy[i][2].numpy(), atol=1e-12)
    for member in (3, 99):
        with pytest.raises(InvalidInput, match="one from 0 to 2"):
            export(tmp_path / "run", tmp_path / "q.onnx", member=member)
    assert not (tmp_path / "q.onnx").exists()


def test_a_program_without_gamesim(reader: ModuleType, tmp_path: Path) -> None:
    """A new interpreter in which gamesim cannot be imported has the same probabilities."""
    game = gs.make("sets/offline", episodes=4, evaluation_episodes=1)
    solver = gs.make_solver("bc", network="set-transformer(width=8, heads=2)", batch_size=8, step_size=0.1)
    result = recorded(tmp_path / "run", game, solver)
    export(tmp_path / "run", tmp_path / "policy.safetensors")
    program = tmp_path / "plain.py"
    program.write_text(
        "import sys\nsys.modules['gamesim'] = None\n"
        f"sys.path.insert(0, {str(Path(str(reader.__file__)).parent)!r})\n"
        "import torch\nfrom reader import load, outputs\n"
        "weights, about = load('policy.safetensors')\n"
        "tokens = torch.arange(24.0).reshape(1, 6, 4) / 24\n"
        "given = dict(tokens=tokens, kinds=torch.tensor([0, 0, 0, 1, 1, 1]), acting=torch.arange(3))\n"
        "print(outputs(weights, about['network'], **given)['probabilities'][0].tolist())\n"
        "assert not [name for name in sys.modules if name.startswith('gamesim.')]\n"
    )
    done = subprocess.run([sys.executable, "-I", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tokens, kinds = torch.arange(24.0).reshape(6, 4) / 24, torch.tensor([0, 0, 0, 1, 1, 1])
    out = solver.actor(game).network(result.policy, game.seen(tokens, kinds), Layout.of([6]), torch.arange(3))
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), out.softmax(-1), rtol=1e-5, atol=1e-6)


def test_the_best_policy(reader: ModuleType, tmp_path: Path) -> None:
    game = gs.make("sets/offline", episodes=4, evaluation_episodes=2)
    solver = gs.make_solver("bc", network="deep-sets(width=4)", batch_size=8, step_size=1.0)
    recorded(tmp_path / "run", game, solver, iterations=6)
    run = read_run(tmp_path / "run")
    weights, about = reader.load(export(run, tmp_path / "p.safetensors", best=True))
    assert about["which"] == "best"
    kept = solver.actor(game).network.named(run.best)
    assert all(torch.equal(weights[name], x) for name, x in kept.items())
    recorded(tmp_path / "table", gs.make("matrix/shapley"), gs.make_solver("ftrl"))
    with pytest.raises(InvalidInput, match="keep their best policy"):
        export(tmp_path / "table", tmp_path / "q.npz", best=True)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "matrix/shapley", "ftrl", "-s", "step_size=0.3", "--iterations", "3", "--json"]
    assert cli.main([*run, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert cli.main(["export", str(tmp_path / "run"), "--to", "npz", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"file": str(tmp_path / "run/policy.npz"), "bytes": (tmp_path / "run/policy.npz").stat().st_size}
    here = str(tmp_path / "run")
    for words, more in [
        ("no network", ["--to", "onnx"]),
        ("did you mean npz", ["--to", "npy"]),
        ("a file in a folder that is there", ["--out", str(tmp_path / "nowhere" / "x.npz")]),
        ("csv or parquet", ["--to", "npz", "--what", "trace"]),
        ("it is no sweep", ["--to", "csv", "--what", "results"]),
        ("0: there is one", ["--to", "npz", "--member", "1"]),
        ("got 'nothing'", []),
    ]:
        before = sorted(tmp_path.rglob("*"))
        assert cli.main(["export", here, *more]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
    assert cli.main(["export", str(tmp_path), "--to", "npz"]) == 2


def test_classes_of_others_are_imported_only_if_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stranger.py").write_text(
        "from dataclasses import dataclass\nfrom gamesim.envs.matrix.classics import Chicken\n"
        "open('ran', 'w').close()\n@dataclass(frozen=True)\nclass Mine(Chicken):\n    pass\n"
    )
    recorded(tmp_path / "run", gs.make("matrix/chicken"), gs.make_solver("ftrl"))
    path = tmp_path / "run/config.json"
    config = json.loads(path.read_text())
    config["game"] |= {"id": "stranger:Mine"}
    config["game"]["parameters"]["kind"] = "stranger:Mine"
    path.write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInput, match="--allow stranger:Mine"):
        export("run", "p.npz")
    assert not (tmp_path / "ran").exists()
    assert export(read_run("run", allow=["stranger:Mine"]), "p.npz").is_file()
    for kind in ("gamesim.files:write_text", "gamesim.exports.saved:subprocess", "os:system", "gamesim..x:y", 3):
        config["game"] |= {"id": "matrix/chicken", "parameters": {"kind": kind}}
        path.write_text(json.dumps(config))
        assert len(read_run("run").policy) == 2  # its id is built in, and built as it was typed
    for broken in ("[]", "{}", '{"game": 3, "solver": {}}', '{"game": {"id": "x"}, "solver": {"id": "y"}}'):
        path.write_text(broken)
        with pytest.raises(InvalidInput):
            read_run("run")


def test_missing_extras_say_how_to_install_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path / "run", gs.make("stochastic/two-state"), gs.make_solver("independent-ppo", episodes=4))
    for name, file, extra in (("onnx", "p.onnx", "onnx"), ("pyarrow", "p.parquet", "data")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtra, match=rf"an? \.\w+ file needs {name}: pip install 'gamesim\[{extra}\]'$"):
            export(tmp_path / "run", tmp_path / file)
        assert not (tmp_path / file).exists()


def test_results_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    for text in ("", "a,a\n1,2\n", "a,b\n1\n", 'a,b\n"1,2\n'):
        path.write_text(text)
        with pytest.raises(InvalidInput):
            results_table(path)
    with pytest.raises(InvalidInput):
        results_table(tmp_path / "none.csv")


def test_what_a_spreadsheet_would_compute_is_quoted_in_text_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    table = {"run": ["1", "2"], "solver": ["=ftrl()", "'x"], "s.name": ["-x", "-1"], "value": [-0.5, None]}
    write_table(path, table, "csv")
    assert path.read_text() == "run,solver,s.name,value\n1,'=ftrl(),'-x,-0.5\n2,'x,-1,\n"
    assert results_table(path) == table


def test_members_of_a_sweep_are_its_runs(tmp_path: Path) -> None:
    """A batch of a sweep is a run folder whose members are runs: seeds that go along with hyper-parameters."""
    game, steps = gs.make("matrix/shapley"), Constant(torch.tensor([0.1, 0.5, 0.5], dtype=torch.float64))
    solver = gs.make_solver("ftrl", step_size=steps, feedback="noisy(1.0)")
    given = ({}, {"step_size": "0.1", "feedback": "noisy(1.0)"})
    asked = settings(game, solver, iterations=3, ids=("matrix/shapley", "ftrl"), given=given, runs=["4", "5", "6"])
    record = gs.Record(tmp_path / "b0", asked)
    result = gs.solve(game, solver, iterations=3, seeds=[7, 3, 7], observers=[record])
    record.finish(result)
    with np.load(export(tmp_path / "b0", tmp_path / "p.npz")) as file:
        assert file["axes.0"].tolist() == ["run", "action"]
        assert file["labels.0.run"].tolist() == ["4", "5", "6"]
        np.testing.assert_array_equal(file["policy.1"], result.policy[1].numpy())
