"""The command line and `solve` on normal-form games, used wrongly and to extremes."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim.cli import main
from gamesim.errors import Caution, InvalidInput
from gamesim.feedback import Bandit, lanes, timetables
from gamesim.games import MatrixGame, VariationalProblem
from gamesim.kernels import fused
from gamesim.loop import solve
from gamesim.regularizers import power_choice
from gamesim.schedules import Constant, Geometric, Power

NFG = 'NFG 1 R "battle" { "Ann" "Bob" } { 2 2 }\n\n3 2 0 0 0 0 2 3\n'
SOLO = 'NFG 1 R "alone" { "Ann" } { 3 }\n\n1 2 3\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("battle.nfg").write_text(NFG)
    Path("solo.nfg").write_text(SOLO)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """The JSON document on stdout, and stderr."""
    assert main([*arguments, "--json"]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("run", "battle.nfg", "ftrl"), ("equilibria", "battle.nfg")])
def test_a_path_and_another_file_beside_it_are_refused(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert "-g file" in refused(capsys, *command, "-g", "file=solo.nfg")
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["with a space ü.nfg", "-dash.nfg", "UPPER.NFG"])
def test_any_file_name_will_do(capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path(name).write_text(NFG)
    found, _ = ran(capsys, "run", f"./{name}", "ftrl", "--iterations", "2")
    assert found["iterations"] == 2
    assert Path(found["run"]).is_dir()


@pytest.mark.parametrize(
    ("game", "solver", "takers"),
    [
        ("battle.nfg", "gmfg-ppo", "best-response-dynamics or extragradient or fictitious-play or ftrl"),
        ("variational/bilinear", "ftrl", "take extragradient or gradient-descent-ascent"),
        ("variational/bilinear", "replicator", "take extragradient or gradient-descent-ascent"),
        ("bandits/long-horizon", "ftrl", "take sparse-bandit"),
    ],
)
def test_a_solver_of_another_family_is_refused_with_those_that_fit(
    capsys: pytest.CaptureFixture[str], game: str, solver: str, takers: str
) -> None:
    assert takers in refused(capsys, "run", game, solver)


@pytest.mark.parametrize(
    ("game", "solver", "feedback"),
    [
        ("variational/bilinear", "extragradient", "bandit"),
        ("variational/bilinear", "gradient-descent-ascent", "realised"),
        ("mean-field/left-right", "ftrl", "bandit"),
        ("battle.nfg", "ftrl", "sampled"),
    ],
)
def test_a_feedback_that_a_game_cannot_give_is_one_line(
    capsys: pytest.CaptureFixture[str], game: str, solver: str, feedback: str
) -> None:
    """Before any caution on its step sizes, and before a run begins."""
    assert f"feedback={feedback}" in refused(capsys, "run", game, solver, "-s", f"feedback={feedback}")
    assert not Path("runs").exists()


def test_a_list_of_truths_is_no_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert "equilibrium" in refused(capsys, "certify", "battle.nfg", "--equilibrium", "[[true, false], [1, 0]]")


def test_parameters_of_its_own_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = ran(capsys, "describe", "matrix/chicken")
    names = [p["name"] for p in found["parameters"]]
    assert names[-2:] == ["dtype", "device"]
    assert names[0] == "temptation"


# --- output -----------------------------------------------------------------------------------------------------------


def test_equilibria_of_many_players_are_lines_and_margins_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    payoffs = " ".join(str((7 * j * j + 3 * j) % 11 / 7) for j in range(5 * 32))
    Path("five.nfg").write_text(f'NFG 1 R "five" {{ "a" "b" "c" "d" "e" }} {{ 2 2 2 2 2 }}\n\n{payoffs}\n')
    assert main(["equilibria", "five.nfg"]) == 0
    text = capsys.readouterr().out
    assert "equilibria, player by player" in text
    assert "; regret" in text
    assert "…" not in text
    assert main(["equilibria", "matrix/random", "-g", "seed=1"]) == 0  # margins of binary fractions
    assert max(map(len, capsys.readouterr().out.split())) < 90


def test_cautions_are_said_once_also_of_averages(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ((), ("--average",)):
        _, err = ran(
            *(capsys, "run", "battle.nfg", "ftrl", "-s", "feedback=bandit", "--seeds", "50", "--iterations", "3"),
            *("--out", f"out{len(more)}", *more),
        )
        assert err.count("2p - r") == 1


@pytest.mark.parametrize("every", ["1", "log"])
@pytest.mark.parametrize("regularizer", ["entropic", "euclidean", "tsallis", "log-barrier"])
def test_what_blows_up_is_kept(capsys: pytest.CaptureFixture[str], every: str, regularizer: str) -> None:
    found, _ = ran(
        *(capsys, "run", "battle.nfg", "ftrl", "-s", "step_size=1e308", "-s", f"regularizer={regularizer}"),
        *("--every", every, "--out", "out"),
        code=1,
    )
    assert found["status"] == "diverged"
    assert "step size" in found["message"]
    assert found["metrics"]["exploitability"]["last"] is None
    assert found["metrics"]["exploitability"]["first"] == 0.5
    assert Path("out/DONE").read_text().startswith("diverged")
    assert Path("out/figures/convergence.png").is_file()


def test_figures_of_one_measure_of_zeros_and_of_what_diverged() -> None:
    from gamesim.figures import draw

    battle = MatrixGame.bimatrix([[3, 0], [0, 2]], [[2, 0], [0, 3]])
    once = draw(solve(battle, gs.make_solver("ftrl"), iterations=0)).axes[0]
    assert once.lines[0].get_marker() == "o"
    assert once.get_yscale() == "log"
    pennies = draw(solve(MatrixGame.zero_sum([[1, -1], [-1, 1]]), gs.make_solver("ftrl"), iterations=5)).axes[0]
    assert pennies.get_yscale() == "linear"
    assert set(pennies.lines[0].get_ydata()) == {0.0}
    gone = draw(solve(battle, gs.make_solver("ftrl", step_size=1e308), iterations=5)).axes[0]
    assert "diverged" in str(gone.lines[0].get_label())


# --- the same bits ----------------------------------------------------------------------------------------------------

SMALL = MatrixGame(torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


@pytest.mark.parametrize("leader", ["plain", "extra-gradient"])
@pytest.mark.parametrize("feedback", ["exact", "bandit", "noisy"])
@pytest.mark.parametrize("regularizer", ["entropic", "euclidean", "tsallis(0.5)", "tsallis(0.3)", "log-barrier"])
def test_a_seed_alone_is_the_seed_in_a_batch(regularizer: str, feedback: str, leader: str) -> None:
    """Bit for bit: in steps and leaps, and with the measures."""
    solver = gs.make_solver(
        *("ftrl",), regularizer=regularizer, feedback=feedback, leader=leader, step_size="power(0.5, 0.7, 3)"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)
        for every in (1, "log"):
            many = solve(SMALL, solver, iterations=15, seeds=19, every=every)
            for k in (0, 18):
                alone = solve(SMALL, solver, iterations=15, seed=k, every=every)
                for x, y in zip(many.policy, alone.policy, strict=True):
                    assert torch.equal(x[k], y)
                assert torch.equal(many.exploitability[k], alone.exploitability[0])


@pytest.mark.parametrize("q", [0.0, 0.05, 0.3, 0.5, 0.95])
def test_a_row_of_a_mirror_map_is_the_same_whatever_stands_beside_it(q: float) -> None:
    rows = 30 * torch.randn(1003, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = power_choice(rows, q)
    for k in range(0, 1003, 17):
        assert torch.equal(together[k], power_choice(rows[k], q))
    strided = torch.stack([rows, -rows], -1)[..., 0]
    assert torch.equal(together, power_choice(strided, q))


# --- many steps at once -----------------------------------------------------------------------------------------------


def test_a_few_lanes_leap_no_further_than_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One seed fills the loops up as 64 do: a leap that took its share of steps for one would hear no signal."""
    asked = list[int]()
    real = timetables._row
    monkeypatch.setattr(timetables, "_row", lambda s, times: (asked.append(len(times)), real(s, times))[1])
    monkeypatch.setattr(lanes, "AT_ONCE", 6400)
    result = solve(SMALL, gs.make_solver("ftrl"), iterations=250, every=250)
    assert result.iterations == 250
    assert asked == [100, 100, 100, 100, 50, 50] * (len(asked) // 6)  # step sizes, and exploration


@pytest.mark.parametrize("schedule", [Constant(0.3), Power(0.5, 0.7, 3.0), Power(2.0, 1.0, 5.0), Geometric(0.5, 0.9)])
def test_schedules_of_a_leap_are_those_of_steps(schedule: Any) -> None:
    whole = timetables._row(schedule, range(1000, 1200))
    assert all(abs(whole[i] - schedule(1000 + i)) <= 1e-15 * whole[i] for i in range(200))
    parts = [timetables._row(schedule, range(t, t + 7)) for t in range(1000, 1196, 7)]
    assert all((part == whole[7 * i : 7 * i + 7]).all() for i, part in enumerate(parts))


def test_without_compiled_loops_it_is_the_same_to_rounding() -> None:
    solver = gs.make_solver("ftrl", step_size="power(0.5, 0.8, 5)", feedback="bandit(power(0.5, 0.4))")
    leap = solve(SMALL, solver, iterations=40, seeds=5, every="log")
    with fused(False):
        plain = solve(SMALL, solver, iterations=40, seeds=5, every="log")
    for x, y in zip(leap.policy, plain.policy, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-10)


# --- from Python ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payoffs", "words"),
    [
        (None, "NoneType"),
        ([[[1, None], [0, 0]], [[0, 0], [0, 0]]], "numbers"),
        ([[1 + 2j]], "numbers"),
        (torch.zeros(2, 2, 2, dtype=torch.complex64), "real"),
        (torch.zeros(0, 2, 2, 2), "at least one game"),
        (3.0, r"shape \[\]"),
    ],
)
def test_payoffs_that_are_none(payoffs: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        MatrixGame(payoffs)


def test_batches_of_parameters_that_do_not_broadcast() -> None:
    solver = gs.make_solver(
        "ftrl", step_size=torch.tensor([0.1, 0.2, 0.3]), feedback=Bandit(Constant(torch.tensor([0.1, 0.2])))
    )
    with pytest.raises(InvalidInput, match=r"step_size \[3\], feedback \[2\].*broadcast"):
        solve(SMALL, solver, iterations=3)


def test_a_start_for_each_seed_without_seeds() -> None:
    with pytest.raises(InvalidInput, match="without seeds"):
        solve(SMALL, gs.make_solver("ftrl"), start=tuple(x.expand(4, -1) for x in SMALL.start()))


def test_a_problem_that_is_known_to_be_solved_elsewhere() -> None:
    """Of solvers and problems of a user's own: no takers, or those of the family."""

    class Odd:
        requires = MatrixGame

        def init(self, game: Any) -> Any: ...

        def step(self, *given: Any) -> Any: ...

    problem = VariationalProblem.of(lambda x: x, start=torch.ones(2), monotone=True)
    with pytest.raises(InvalidInput, match="MatrixGame, which Odd needs; for this game take extragradient"):
        solve(problem, Odd())
    with pytest.raises(InvalidInput, match="no solver of gamesim takes this game"):
        solve(object(), Odd())


def test_what_adds_up_is_best_at_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = ran(capsys, "run", "bandits/bernoulli", "ucb", "--iterations", "30", "--seeds", "2")[0]["metrics"]
    assert metrics["rounds"] == {"first": 0, "last": 30, "best": 30}
    assert metrics["regret"]["best"] == metrics["regret"]["last"] > 0
    assert metrics["exploitability"]["best"] <= metrics["exploitability"]["last"]
