"""Stochastic games from the command line: solve, resume, draw, list equilibria, refuse."""

import json
from pathlib import Path

import pytest

from gamesim.cli import main
from gamesim.equilibria.shapley import solve_shapley
from gamesim.making import make

SAMPLED = ["-s", "feedback=reinforce(power(0.5, 0.4, 10))", "-s", "step_size=power(0.3, 0.8, 10)"]


Capture = pytest.CaptureFixture[str]


def gamesim(capsys: Capture, *args: str, code: int = 0) -> tuple[str, str]:
    """What it says on stdout and on stderr."""
    capsys.readouterr()
    assert main(list(args)) == code
    said = capsys.readouterr()
    return said.out, said.err


def test_a_run_ends_at_the_strict_equilibrium_and_draws_it(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = gamesim(
        capsys, "run", "stochastic/two-state", "policy-gradient", "--iterations", "60", "--out", str(out), "--json"
    )
    found = json.loads(done[0])
    assert found["metrics"]["exploitability"]["last"] == 0
    assert found["metrics"]["worst_gain"]["last"] == 0
    assert (out / "figures" / "convergence.png").stat().st_size > 5000


def test_a_sampled_run_resumes_to_the_same_bits(capsys: Capture, tmp_path: Path) -> None:
    run = ["run", "stochastic/two-state", "policy-gradient", *SAMPLED, "--seeds", "3", "--every", "5", "--json"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    gamesim(capsys, *run, "--iterations", "40", "--out", str(whole))
    gamesim(capsys, *run, "--iterations", "20", "--out", str(parts))
    gamesim(capsys, *run, "--iterations", "40", "--out", str(parts), "--resume")
    assert (whole / "trace.csv").read_bytes() == (parts / "trace.csv").read_bytes()


def test_equilibria_of_a_game_with_states(capsys: Capture) -> None:
    found = json.loads(gamesim(capsys, "equilibria", "stochastic/two-state", "--json")[0])
    assert [e["actions"] for e in found["pure"]] == [[[0, 0], [0, 0]]]
    assert found["pure"][0]["strict"]
    assert found["pure"][0]["margin"] == pytest.approx(0.7)
    assert found["equilibria"][0]["gain"] == 0
    assert found["complete"]
    words = gamesim(capsys, "equilibria", "stochastic/two-state")[0]
    assert "a stationary equilibrium" in words
    assert "complete     yes: 1 pure, and no more" in words


def test_the_value_of_a_zero_sum_game(capsys: Capture) -> None:
    found = json.loads(gamesim(capsys, "equilibria", "stochastic/zero-sum", "-g", "state_count=3", "--json")[0])
    game = make("stochastic/zero-sum", state_count=3)
    assert found["value"] == pytest.approx(float(solve_shapley(game).value), abs=1e-8)
    assert found["equilibria"][0]["method"] == "shapley"
    assert found["equilibria"][0]["payoffs"][0] == pytest.approx(found["value"], abs=1e-8)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["equilibria", "stochastic/two-state", "--logit"],
            "--logit: got True, expected nothing: stochastic/two-state is",
        ),
        (
            ["equilibria", "stochastic/random", "-g", "games=3"],
            "game: got 'a batch of games of shape [3]', expected one",
        ),
        (["equilibria", "stochastic/two-state", "-g", "stop=0"], "stop: got"),
        (["run", "stochastic/two-state", "policy-gradient", "-s", "feedback=bandit"], "game: got 'TwoState'"),
        (["run", "matrix/chicken", "policy-gradient"], "game: got 'Chicken', expected an EpisodicGame, which Policy"),
        (
            ["run", "stochastic/two-state", "policy-gradient", "-s", "projection=both"],
            "projection: got 'both', expected one of eager, lazy",
        ),
    ],
)
def test_refusals_are_one_line(capsys: Capture, args: list[str], words: str) -> None:
    done = gamesim(capsys, *args, code=2)
    assert words in done[1]
    assert done[1].count("\n") <= 2
    assert done[0] == ""


def test_cautions_are_said_and_the_run_goes_on(capsys: Capture, tmp_path: Path) -> None:
    loose = ["-s", "feedback=reinforce(power(0.5, 0.3, 10))", "-s", "step_size=power(0.3, 0.6, 10)"]
    out = str(tmp_path / "run")
    done = gamesim(
        capsys, "run", "stochastic/two-state", "policy-gradient", *loose, "--iterations", "5", "--out", out, "--json"
    )
    assert "p + r = 0.9, not above 1" in done[1]
    assert json.loads(done[0])["iterations"] == 5
