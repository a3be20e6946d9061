"""Sweeps that somebody tries to break: every run is what its command does, and what is damaged is never believed."""

import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim.cli import main
from gamesim.errors import Caution, InvalidInput
from gamesim.games import MatrixGame
from gamesim.running import random_start
from gamesim.sweeps.batches import batched, stack
from gamesim.sweeps.board import best, best_table
from gamesim.sweeps.design import plan_of
from gamesim.sweeps.pictures import folder_name
from gamesim.sweeps.results import ended
from gamesim.sweeps.scheduler import sweep
from test_sweeps import SMALL, Here, done, rows

pytestmark = pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "small"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        assert done(SMALL, folder)["status"] == "done"
    return folder


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the tests that are about pictures draw."""
    if "pictures" not in request.node.name:
        monkeypatch.setattr("gamesim.sweeps.scheduler.figures_of", lambda root: [])


# each run is what its command does

HEAD = "iterations = 30\nevery = 5\nseeds = 2\n"
MET = (
    HEAD + "tolerance = 0.7\nstart = 'random'\n[[runs]]\ngame = 'matrix/shapley'\nsolver = 'ftrl'\n"
    "s = { step_size = [0.1, 0.5], feedback = 'exact' }\n"
)


def test_each_run_stops_where_it_meets_its_tolerance(tmp_path: Path) -> None:
    """A tensor batch goes on until the worst of its members has met it; the table says what each would alone."""
    done(MET, tmp_path / "s")
    table, game = rows(tmp_path / "s"), gs.make("matrix/shapley")
    seen = set()
    for run in plan_of(MET).runs:
        alone = gs.solve(
            game, gs.make_solver("ftrl", **run.s), iterations=30, every=5, tolerance=0.7, seed=run.seed,
            start=random_start(game, None, run.seed),
        )  # fmt: skip
        mine = [(r["status"], int(r["iteration"]), float(r["value"])) for r in table if r["run"] == run.name]
        measured = zip(alone.trace.iterations, alone.exploitability[0].tolist(), strict=True)
        assert mine == [(alone.status.label, t, x) for t, x in measured]
        seen.add((alone.status, len(mine)))
    assert len(seen) > 2, "the runs of this test must end at different times, or it tests nothing"


@pytest.mark.parametrize("game", ["matrix/shapley", "graphon/beach"])
def test_noise_of_different_size_is_one_batch(game: str) -> None:
    own = {"positions": 3, "horizon": 3} if game.startswith("graphon") else {}
    made = gs.make(game, **own)
    solvers = [gs.make_solver("ftrl", feedback=f"noisy({x})") for x in (0.1, 0.1, 0.3)]
    together = gs.solve(made, stack(solvers), iterations=4, seeds=[0, 1, 1])
    for i, seed in enumerate([0, 1, 1]):
        alone = gs.solve(made, solvers[i], iterations=4, seed=seed)
        assert bool((together.exploitability[i] == alone.exploitability[0]).all())
    assert bool((together.policy[0][1] != together.policy[0][2]).any())


# nothing damaged is believed


def batch_of(folder: Path) -> Path:
    return folder / "batches" / "b0"


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "half a trace": lambda b: (b / "trace.csv").write_text("".join(lines(b)[:9])),
    "a trace of one row": lambda b: (b / "trace.csv").write_text(
        "".join(x for x in lines(b) if x.split(",")[1] in ("seed", "0"))
    ),
    "no trace": lambda b: (b / "trace.csv").unlink(),
    "an empty summary": lambda b: (b / "summary.json").write_text("{}"),
    "a list for a summary": lambda b: (b / "summary.json").write_text("[]"),
    "a diverged number": lambda b: (b / "summary.json").write_text(
        '{"status": "x", "iterations": 20, "diverged": [3]}'
    ),
    "half a config": lambda b: (b / "config.json").write_text((b / "config.json").read_text()[:200]),
    "another batch": lambda b: (shutil.rmtree(b), shutil.copytree(b.parent / "b1", b)),
}


def lines(batch: Path) -> list[str]:
    return (batch / "trace.csv").read_text().splitlines(keepends=True)


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_a_damaged_batch_is_refused_and_done_again_once_it_is_gone(damage: str, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("figures"))
    DAMAGES[damage](batch_of(folder))
    with pytest.raises(InvalidInput, match=r"b0: damaged, or not of this sweep .*remove this folder") as refused:
        done(SMALL, folder, resume=True)
    assert "\n" not in str(refused.value)
    if damage == "another batch":
        shutil.rmtree(batch_of(folder))
        engine = Here()
        done(SMALL, folder, engine, resume=True)
        assert engine.started == ["b0"]
        assert (folder / "results.csv").read_bytes() == (small / "results.csv").read_bytes()


def test_trials_of_other_points_are_not_taken_for_these(tmp_path: Path) -> None:
    """What a tuner asks for may change where a run failed before: names and seeds are the same, parameters are not."""
    head = "iterations = 3\n[[runs]]\ngame = 'matrix/chicken'\nsolver = 'ftrl'\n"
    plans = [plan_of(f"{head}s = {{ step_size = {x} }}") for x in (0.1, 0.2)]
    first, second = (batched(plan.runs)[0] for plan in plans)
    done(f"{head}s = {{ step_size = 0.1 }}", tmp_path / "s")
    assert [e.run.name for e in ended(tmp_path / "s", first)] == ["0"]
    with pytest.raises(InvalidInput, match="varied is not that of the plan"):
        ended(tmp_path / "s", second)


def test_a_mark_that_is_no_text_ends_nothing(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("figures"))
    (batch_of(folder) / "DONE").write_bytes(bytes(range(128, 256)))
    (folder / "results.csv").unlink()
    assert done(SMALL, folder, resume=True)["status"] == "done"
    assert (folder / "results.csv").read_bytes() == (small / "results.csv").read_bytes()


# pictures and tables


def test_pictures_of_a_game_without_exploitability(tmp_path: Path) -> None:
    text = "iterations = 3\nseeds = 2\n[[runs]]\ngame = 'variational/bilinear'\nsolver = 'extragradient'\n"
    assert any("curves" in path for path in done(text, tmp_path / "s")["figures"])


def test_folders_of_games_are_names_and_differ() -> None:
    games = ["matrix/shapley", "./.a b.nfg", "a/x.nfg", "b/x.nfg", "...", "y" * 300]
    found = [folder_name(game, games) for game in games]
    assert found[:4] == ["matrix-shapley", "a-b.nfg", "x.nfg-2", "x.nfg-3"]
    assert len(set(found)) == len(games)
    assert all(name and name[0].isalnum() and len(name) <= 100 for name in found)


def test_the_best_are_told_apart_by_what_varies_within_their_game(tmp_path: Path) -> None:
    text = (
        "iterations = 3\n[[runs]]\ngame = 'matrix/chicken'\nsolver = 'ftrl'\n"
        "s = { step_size = [0.1, 0.2], feedback = 'exact' }\n"
        "[[runs]]\ngame = 'variational/bilinear'\nsolver = 'extragradient'\n"
    )  # fmt: skip
    plan = plan_of(text)
    sweep(plan, tmp_path / "s", Here())
    table = best_table(best([e for batch in batched(plan.runs) for e in ended(tmp_path / "s", batch)]))
    assert list(table.columns[2].cells) == ["s.step_size=0.2", "s.step_size=0.1", ""]


# places


def test_from_a_thread(tmp_path: Path) -> None:
    """Where nobody can listen for signals a sweep goes on all the same."""
    found = list[Any]()
    text = "iterations = 2\n[[runs]]\ngame = 'matrix/chicken'\nsolver = 'ftrl'\n"
    thread = threading.Thread(target=lambda: found.append(sweep(plan_of(text), tmp_path / "s", Here())))
    thread.start()
    thread.join()
    assert found[0][1] == 0


def test_options_are_checked_before_a_plan_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SMALL)
    for options in (["--gpus", "1"], ["--address", "127.0.0.1:6379"], ["--log", "nobody"]):
        assert main(["sweep", str(file), "--plan", *options]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["sweep", str(tmp_path)]) == 2
    assert "this is a folder" in capsys.readouterr().err


def test_a_game_that_is_a_batch_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(SMALL.replace("seeds = 2", "seeds = 1"))
    import gamesim.sweeps.work as work

    built = work.built_game
    pair = MatrixGame(torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    monkeypatch.setattr(work, "built_game", lambda run: pair if run.game == "matrix/shapley" else built(run))
    summary, code = sweep(plan, tmp_path / "s", Here())
    assert (code, summary["done"], summary["failed"]) == (1, 2, 2)
    assert "a sweep takes single games" in summary["failures"][0]["error"]


def test_the_best_in_a_game_are_by_one_metric(tmp_path: Path) -> None:
    text = (
        "iterations = 2\n[[runs]]\ngame = 'matrix/chicken'\nsolver = 'policy-mirror-descent'\n"
        "[[runs]]\ngame = 'matrix/chicken'\nsolver = 'replicator'\n"
    )
    assert {row["metric"] for row in done(text, tmp_path / "s")["best"]} == {"exploitability"}


def test_pictures_that_fail_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(root: Path) -> list[str]:
        raise KeyError("font")

    monkeypatch.setattr("gamesim.sweeps.scheduler.figures_of", breaks)
    text = "iterations = 2\n[[runs]]\ngame = 'matrix/chicken'\nsolver = 'ftrl'\n"
    with pytest.warns(Caution, match="no figures: KeyError"):
        summary = done(text, tmp_path / "s")
    assert summary["status"] == "done"
    assert (tmp_path / "s" / "DONE").is_file()


def test_more_settings_than_pictures_have_room_for_count_as_draws(tmp_path: Path) -> None:
    text = (
        "iterations = 3\n[[runs]]\ngame = 'matrix/chicken'\nsolver = 'ftrl'\ndesign = 'random'\ndraws = 41\n"
        "s = { step_size = { uniform = [0.1, 1.0] }, feedback = 'exact' }\n"
    )
    assert any("profile" in path for path in done(text, tmp_path / "s")["figures"])
