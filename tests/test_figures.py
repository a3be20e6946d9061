"""Figures: drawn from the files of runs alone, the same bytes each time, and never blank."""

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

import gamesim as gs
from gamesim import cli
from gamesim.charts import Chart, Curve, Panel
from gamesim.errors import InvalidInput
from gamesim.figures import draw_chart, draw_game, report, save, to_svg


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small runs of different kinds, with their figures."""
    folder = tmp_path_factory.mktemp("runs")
    common = ["-g", "horizon=4", "--iterations", "5", "--json", "--out"]
    for name, arguments in {
        "one": ["graphon/sis", "gmfg-ppo", "-g", "positions=5"],
        "two": ["graphon/sis", "fixed-point", "-g", "positions=5"],
        "seeds": ["graphon/sis", "gmfg-ppo", "-g", "positions=5", "--seeds", "4", "-s", "feedback=noisy(0.5)"],
        "field": ["mean-field/left-right", "online-mirror-descent"],
        "many": ["graphon/beach", "policy-mirror-descent", "-g", "positions=3"],
        "graph": ["graphon/sis", "gmfg-ppo", "-g", "graph=karate-club", "-g", "normalize=true"],
    }.items():
        assert cli.main(["run", *arguments, *common, str(folder / name)]) == 0
    return folder


def assert_drawn(path: Path) -> None:
    """A picture with ink of several shades, not a blank page."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 300
    assert pixels.std() > 0.03
    assert len(np.unique((pixels[::3, ::3] * 15).round() @ [1, 16, 256])) > 10


@pytest.mark.parametrize("name", ["one", "two", "seeds", "field", "many", "graph"])
def test_every_run_has_its_figure_and_redrawing_gives_the_same_bytes(
    runs: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [runs / name / "figures" / f"convergence.{kind}" for kind in ("png", "pdf")]
    assert_drawn(paths[0])
    assert paths[1].read_bytes().startswith(b"%PDF")
    before = [path.read_bytes() for path in paths]
    assert cli.main(["draw", str(runs / name), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"figures": [str(path) for path in paths]}
    assert [path.read_bytes() for path in paths] == before


def test_only_the_files_are_needed(runs: Path, tmp_path: Path) -> None:
    for name in ("config.json", "trace.csv", "play.safetensors"):
        shutil.copy(runs / "one" / name, tmp_path)
    assert len(gs.draw(tmp_path).axes) >= 3
    (tmp_path / "play.safetensors").unlink()
    (tmp_path / "config.json").unlink()
    assert len(gs.draw(tmp_path).axes) == 1  # the convergence needs the trace alone


def test_several_runs_in_one_picture(runs: Path, tmp_path: Path) -> None:
    figure = gs.draw(runs / "one", runs / "two", runs / "seeds")
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"one", "two", "seeds"}
    assert axes.get_yscale() == "log"
    assert_drawn(save(figure, tmp_path, "comparison")[0])
    assert gs.draw(runs / "one", runs / "two", metric="maximum_exploitability").axes[0].lines


def test_the_curve_is_the_trace(runs: Path) -> None:
    figure = gs.draw(runs / "one", metric="exploitability")
    (line,) = figure.axes[0].lines
    lines = [row.split(",") for row in (runs / "one" / "trace.csv").read_text().splitlines()[1:]]
    wanted = [float(row[3]) for row in lines if row[2] == "exploitability"]
    assert line.get_ydata().tolist() == wanted
    assert line.get_xdata().tolist() == list(range(6))


def test_the_band_is_the_interquartile_range(runs: Path) -> None:
    figure = gs.draw(runs / "seeds", metric="exploitability")
    (band,) = figure.axes[0].collections
    lines = [row.split(",") for row in (runs / "seeds" / "trace.csv").read_text().splitlines()[1:]]
    last = [float(row[3]) for row in lines if row[0] == "5" and row[2] == "exploitability"]
    ys = band.get_paths()[0].vertices[:, 1]
    for share in (25, 75):
        assert np.abs(ys - np.percentile(last, share)).min() < 1e-12


def test_a_result_in_memory() -> None:
    game = gs.make("graphon/sis", positions=3, horizon=3)
    result = gs.solve(game, gs.make_solver("gmfg-ppo"), iterations=3)
    assert isinstance(gs.draw(result), Figure)
    assert gs.draw(result).axes[0].get_legend() is not None
    both = gs.draw(result, result)
    assert len(both.axes[0].lines) == 2
    batch = gs.solve(
        game, gs.make_solver("gmfg-ppo", temperature=torch.tensor([0.1, 1.0]).double()), iterations=3, seeds=2
    )
    assert gs.draw(batch).axes[0].collections


def test_exact_zeros_can_be_drawn(tmp_path: Path) -> None:
    result = gs.solve(gs.make("graphon/sis", positions=3, horizon=3), gs.make_solver("gmfg-ppo"), iterations=2)
    zero = dataclasses.replace(result)
    for values in zero.trace.metrics.values():
        values[-1].zero_()
    assert_drawn(save(gs.draw(zero), tmp_path, "zero")[0])


@pytest.mark.parametrize("bad", [math.nan, pytest.param(math.inf)])
def test_runs_that_diverged_can_be_drawn(tmp_path: Path, bad: float) -> None:
    rows = "".join(f"{t},{s},exploitability,{1 / (1 + t) if t < 3 else bad!r}\n" for t in range(4) for s in range(3))
    (tmp_path / "trace.csv").write_text("iteration,seed,metric,value\n" + rows)
    assert_drawn(save(gs.draw(tmp_path), tmp_path, "diverged")[0])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "trace.csv: no such file"),
        ({"trace.csv": ""}, "its first line is not"),
        pytest.param({"trace.csv": "iteration,seed,metric,value\n"}, "measure"),
        ({"trace.csv": "iteration,seed,metric,value\nx,y,z,w\n"}, "line 2"),
        pytest.param(
            {"trace.csv": "iteration,seed,metric,value\n0,0,exploitability,1\n", "play.safetensors": "broken"},
            "play.safetensors",
        ),
    ],
)
def test_folders_that_are_no_runs(
    tmp_path: Path, files: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cli.main(["draw", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "figures").exists()


def test_nothing_to_draw() -> None:
    with pytest.raises(InvalidInput, match="at least one run"):
        gs.draw()


CHART = Chart(
    "rates",
    [
        Panel(
            "title <b>",
            "x & y",
            "error",
            [Curve("<i>ours</i>", [1, 2, 4], [1.0, 0.5, 0.25], low=[0.9, 0.4, 0.2], high=[1.1, 0.6, 0.3], dots=True)],
            log_x=True,
            theory={"1/x": -1.0},
        ),
        Panel("plain", "t", "share", [Curve("", [0, 1], [0.0, 1.0], dashed=True)], log_y=False),
    ],
)


def test_charts(tmp_path: Path) -> None:
    figure = draw_chart(CHART)
    left, right = figure.axes
    assert (left.get_xscale(), left.get_yscale(), right.get_yscale()) == ("log", "log", "linear")
    theory = left.lines[-1]
    np.testing.assert_allclose(theory.get_ydata(), [1, 0.5, 0.25])
    paths = save(figure, tmp_path, "chart")
    assert_drawn(paths[0])
    again = save(draw_chart(CHART), tmp_path / "again", "chart")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


def test_svg_is_an_element_with_the_same_text_each_time() -> None:
    text = to_svg(draw_chart(CHART))
    assert text.startswith("<svg")
    assert text == to_svg(draw_chart(CHART))


def test_a_report_escapes_what_it_is_given() -> None:
    bad: Any = "<script>alert(1)</script>"
    page = report(bad, [(bad, bad, [(bad, bad)], [draw_chart(CHART)])])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 6


# --- normal-form games ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "panels"),
    [((2, 2), 2), ((3, 3), 3), ((3, 2), 2), ((4, 5), 2), ((2, 12), 2), ((2, 2, 2), 1), ((3,), 1)],
)
def test_a_game_is_drawn_with_its_equilibria(counts: tuple[int, ...], panels: int) -> None:
    game = gs.MatrixGame(np.random.default_rng(sum(counts)).integers(0, 5, size=(len(counts), *counts)).astype(float))
    figure = draw_game(game, gs.find_equilibria(game))
    plain = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(plain) == panels
    assert "<svg" in to_svg(figure)


def test_best_responses_meet_at_the_equilibria() -> None:
    battle = gs.MatrixGame.bimatrix([[3, 0], [0, 2]], [[2, 0], [0, 3]])
    square = draw_game(battle, gs.find_equilibria(battle)).axes[1]
    first, second, *dots = square.get_lines()
    assert [tuple(np.round(dot.get_xydata()[0], 9)) for dot in dots] == [(1, 1), (0.6, 0.4), (0, 0)]
    switch = first.get_ydata()[np.abs(np.diff(first.get_xdata())).argmax()]
    assert switch == pytest.approx(0.4, abs=1e-3)  # the row player is indifferent where column plays 2/5
    switch = second.get_xdata()[np.abs(np.diff(second.get_ydata())).argmax()]
    assert switch == pytest.approx(0.6, abs=1e-3)


def test_a_game_in_which_nothing_matters_is_drawn() -> None:
    flat = gs.MatrixGame(np.zeros((2, 2, 2)))
    assert "<svg" in to_svg(draw_game(flat, gs.find_equilibria(flat)))


def test_runs_of_normal_form_games_show_where_they_ended(tmp_path: Path) -> None:
    path = str(Path(__file__).parent / "games" / "battle.nfg")
    folder = tmp_path / "run"
    runs = ["run", path, "ftrl", "-s", "feedback=realised", "--seeds", "20", "--iterations", "50", "--every", "log"]
    assert cli.main([*runs, "--out", str(folder)]) == 0
    figure = gs.draw(folder)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Distance from equilibrium", "Where 20 runs ended"]
    assert figure.axes[0].get_xscale() == "symlog"
    assert len(figure.axes[1].get_lines()[0].get_xydata()) == 20


def test_regret_is_drawn_as_what_adds_up() -> None:
    result = gs.solve(gs.make("bandits/bernoulli"), gs.make_solver("ucb"), iterations=40, seeds=3)
    (axes,) = gs.draw(result).axes
    assert axes.get_title(loc="left") == "Regret"
    assert axes.get_yscale() == "linear"
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), np.median(result.metric("regret").numpy(), axis=0))


def test_a_run_on_recorded_play_is_drawn_by_its_score() -> None:
    """Scores may be negative and must not be taken for distances; losses and residuals stay in the trace."""
    from gamesim.figures.runs import _worth_drawing

    offline = ["return", "score", "return_3", "return_6", "value", "residual"]
    assert _worth_drawing(offline, False, alone=True) == ["score"] == _worth_drawing(offline, False, alone=False)
    assert _worth_drawing(["return", "value", "residual"], False, alone=True) == ["return"]
    assert _worth_drawing(["residual", "value"], False, alone=False) == ["residual"]
