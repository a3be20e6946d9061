"""`gamesim equilibria` and games in files on the command line: the JSON of the interface, words, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

import gamesim as gs
from gamesim.cli import main
from gamesim.envs.matrix.file import FileGame
from gamesim.equilibria.listing import find_equilibria
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame

HERE = Path(__file__).parent / "games"
BATTLE = str(HERE / "battle.nfg")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main([*arguments, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_json_of_a_game_with_three_equilibria(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "equilibria", BATTLE)
    assert found["pure"] == [
        {"profile": [0, 0], "strict": True, "margin": 2.0},
        {"profile": [1, 1], "strict": True, "margin": 2.0},
    ]
    assert found["complete"] is True
    assert found["value"] is None
    assert found["correlated"] == {"max_welfare": pytest.approx(5), "min_welfare": pytest.approx(2.4)}
    profiles = [e["profile"] for e in found["equilibria"]]  # type: ignore[attr-defined]
    assert len(profiles) == 3
    assert [[0.6, 0.4], [0.4, 0.6]] in [np.round(x, 12).tolist() for x in profiles]
    assert all(e["max_regret"] == 0 for e in found["equilibria"])  # type: ignore[attr-defined]
    payoffs = [e["payoffs"] for e in found["equilibria"]]  # type: ignore[attr-defined]
    assert [3.0, 2.0] in payoffs


def test_the_value_is_player_ones_in_a_constant_sum_game() -> None:
    u = np.array([[3.0, 1.0], [0.0, 2.0]])
    found = find_equilibria(MatrixGame.bimatrix(u, 10 - u)).plain()
    assert found["value"] == pytest.approx(1.5, abs=1e-12)
    assert found["correlated"]["max_welfare"] == pytest.approx(10)
    assert found["pure"] == []
    assert "no pure equilibrium" in found["message"]


def test_the_value_is_exact_and_given_where_sums_differ_in_their_last_digits_only(tmp_path: Path) -> None:
    a = np.array([[0.1 + 0.2, 0.7], [0.9, 0.1]])
    b = np.array([[-0.3, -0.7], [-0.9, -0.1]])
    assert len(set((a + b).flat)) > 1
    assert find_equilibria(MatrixGame.bimatrix(a, b)).value == pytest.approx(0.5, abs=1e-12)
    assert find_equilibria(MatrixGame.bimatrix(a, np.where(b == -0.7, -0.7 + 1e-10, b))).value is None
    thirds = tmp_path / "thirds.nfg"
    thirds.write_text('NFG 1 R "" { "a" "b" } { 2 2 } 1/3 2/3 1 0 2/3 1/3 0 1')
    assert find_equilibria(FileGame(str(thirds))).value == 0.5  # not 0.49999999999999994
    large = tmp_path / "large.nfg"
    payoffs = "1e9 -1e9 -999999999.9 999999999.9 -1e9 1e9 1000000000.1 -1000000000.1"
    large.write_text(f'NFG 1 R "" {{ "a" "b" }} {{ 2 2 }} {payoffs}')
    assert find_equilibria(FileGame(str(large))).value == 0.05


def test_games_of_one_and_of_three_players() -> None:
    alone = find_equilibria(MatrixGame([[1.0, 3.0, 3.0]])).plain()
    assert [e["profile"] for e in alone["pure"]] == [[1], [2]]
    assert not any(e["strict"] for e in alone["pure"])
    assert alone["complete"]
    pennies = np.zeros((3, 2, 2, 2))  # Jordan: each wants to be as the next one, the last unlike the first
    for a, b, c in np.ndindex(2, 2, 2):
        pennies[:, a, b, c] = [a == b, b == c, c != a]
    three = find_equilibria(MatrixGame(pennies)).plain()
    assert three["pure"] == []
    assert three["message"]
    np.testing.assert_allclose(three["equilibria"][0]["profile"], np.full((3, 2), 0.5), atol=1e-9)


def test_words_and_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("game.png", "game.svg"):
        assert main(["equilibria", BATTLE, "--figure", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 5000
    said = capsys.readouterr().out
    for words in ("opera, opera", "3/5 2/5", "correlated   welfare from 2.4 to 5", "complete     yes"):
        assert words in said


def test_the_logit_path_leads_to_an_equilibrium(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "equilibria", BATTLE, "--logit")["logit"]
    np.testing.assert_allclose(found["profiles"][0], np.full((2, 2), 0.5))  # type: ignore[index]
    assert found["max_regret"][-1] < 1e-4  # type: ignore[index]
    assert len(found["precision"]) == len(found["profiles"]) <= 50  # type: ignore[index]
    assert main(["equilibria", BATTLE, "--logit"]) == 0
    assert "logit        leads to (" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".nfg", ".gam"])
def test_a_file_is_run_and_read_like_any_game(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gamesim.formats.game_files import read_game_file, write_game_file

    monkeypatch.chdir(tmp_path)
    write_game_file(Path(f"mine{suffix}"), read_game_file(BATTLE))
    found = answer(capsys, "run", f"mine{suffix}", "ftrl", "--iterations", "30", "-s", "step_size=0.5")
    assert found["metrics"]["exploitability"]["first"] == pytest.approx(0.5)  # type: ignore[index]
    assert str(found["run"]).startswith(f"runs/mine{suffix}-ftrl-")
    game = gs.make(f"mine{suffix}")
    assert game.action_counts == (2, 2)
    assert float(game.payoffs[0, 0, 0]) == 3.0
    config = json.loads((Path(str(found["run"])) / "config.json").read_text())
    assert config["game"]["parameters"]["file"] == f"mine{suffix}"
    assert len(config["game"]["parameters"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["equilibria", "missing.nfg"], "missing.nfg"),
        (["equilibria", "graphon/sis"], "one normal-form game"),
        (["equilibria", BATTLE, "--figure", "game.bmp"], "ends in .png"),
        (["equilibria", BATTLE, "--figure", "nowhere/game.png"], "a folder that exists"),
        (["equilibria", BATTLE, "-g", "speed=3"], "parameter of"),
        (["run", BATTLE, "gmfg-ppo"], "expected a GraphonGame"),
        (["run", BATTLE, "ftrl", "-s", "feedback=bandit(0)"], "feedback.exploration"),
        (["run", BATTLE, "ftrl", "-s", "regularizer=entropy"], "regularizer"),
    ],
)
def test_refusals_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1


def test_a_broken_file_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.nfg"
    path.write_text('NFG 1 R "x" { "a" "b" } { 2 2 }\n\n1 2 3 4 5 6 7 x\n')
    assert main(["run", str(path), "ftrl"]) == 2
    assert "line 3" in capsys.readouterr().err


def test_a_batch_of_games_has_no_listing() -> None:
    with pytest.raises(InvalidInput, match="one normal-form game"):
        find_equilibria(MatrixGame.zero_sum(np.zeros((3, 2, 2))))


def test_payoffs_near_the_largest_floats_are_listed_or_said_to_be_too_large(capsys: pytest.CaptureFixture[str]) -> None:
    a = np.array([[1.5e308, -1.5e308], [-1.5e308, 1.5e308]])
    found = find_equilibria(MatrixGame.bimatrix(a, a)).plain()
    assert [e["profile"] for e in found["pure"]] == [[0, 0], [1, 1]]
    assert [e["margin"] for e in found["pure"]] == [None, None]  # 3e308
    assert len(found["equilibria"]) == 3
    assert found["correlated"]["max_welfare"] is None
    assert "1.8e308" in found["message"]
    json.dumps(found, allow_nan=False)
    small = find_equilibria(MatrixGame.bimatrix(a / 1e100, a / 1e100)).plain()
    assert small["correlated"]["max_welfare"] == pytest.approx(3e208)


def test_dominated_actions_do_not_make_a_game_too_large_for_its_correlated_equilibria() -> None:
    u = np.zeros((2, 2, 1000))
    u[:, :, :2] = [[[2, 0], [0, 1]], [[1, 0], [0, 2]]]
    u[1, :, 2:] = -1
    assert find_equilibria(MatrixGame(u)).welfare == pytest.approx((4 / 3, 3))
