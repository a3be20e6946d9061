"""`gamesim certify` for stochastic games: where policies come from, what is printed, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gamesim.cli import main

GAME = "stochastic/two-state"
CONSTRUCTED = "stochastic/constructed"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["certify", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr."""
    assert main(["certify", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_by_default_equilibria_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    (only,) = told(capsys, GAME)["policies"]
    assert only["verdict"] == "strict"
    assert only["sos"] is True
    assert only["pure"] == [[0, 0], [0, 0]]
    assert only["margin"] == pytest.approx(0.7)
    assert only["modulus"] > 0
    found = told(capsys, CONSTRUCTED, "-g", "built=unvisited", "-g", "state_count=3")["policies"]
    assert "nash-not-sos" in {each["verdict"] for each in found}
    assert all(each["exploitability"] < 1e-8 for each in found)


def test_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", GAME]) == 0
    out = capsys.readouterr().out
    assert out.startswith("(0,0;0,0)  strict\n")
    assert "margin               0.7; weighted by visits" in out
    mixed = "[[[0.5, 0.5], [1, 0]], [[1, 0], [1, 0]]]"
    assert main(["certify", GAME, "--policy", mixed]) == 0
    out = capsys.readouterr().out
    assert out.startswith("(0.5 0.5, 1 0; 1 0, 1 0)  not-nash\n")
    assert "player 0 gains" in out
    assert "exploitability" in out
    assert main(["certify", CONSTRUCTED, "-g", "built=duplicate", "-g", "state_count=2"]) == 0
    out = capsys.readouterr().out
    assert "nash-not-sos" in out
    assert "does not play action" in out
    assert "along it" not in out  # all of it is 0
    assert main(["certify", "stochastic/zero-sum", "-g", "state_count=3"]) == 0
    out = capsys.readouterr().out
    assert "along it             <v, pi - pi*> / |pi - pi*|^2 = " in out
    assert "own blocks on the face" in out


def test_policies_by_name_and_number(capsys: pytest.CaptureFixture[str]) -> None:
    for text, verdict in (
        ("0,0;0,0", "strict"),
        (" 0, 1 ;0,0", "not-nash"),
        ("[[0, 0], [0, 0]]", "strict"),
        ("[[[1, 0], [1, 0]], [[1, 0], [1.0, 0.0]]]", "strict"),
    ):
        (only,) = told(capsys, GAME, "--policy", text)["policies"]
        assert only["verdict"] == verdict
    (only,) = told(capsys, GAME, "--policy", "0,1;0,0")["policies"]
    assert only["deviation"]["player"] == 0
    assert only["deviation"]["reply"] == [[1.0, 0.0], [1.0, 0.0]]
    (loose,) = told(capsys, GAME, "--policy", "[[[1, 0], [0.99999, 0.00001]], [0, 0]]", "--tolerance", "1e-4")[
        "policies"
    ]
    assert loose["verdict"] == "strict"
    assert loose["dropped"] == pytest.approx(1e-5)


@pytest.mark.parametrize("solver", ["policy-gradient", "online-mirror-descent"])
def test_the_last_policies_of_a_run(solver: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", GAME, solver, "--seeds", "3", "--iterations", "60", "--out", "run", "--json"]) == 0
    capsys.readouterr()
    found = told(capsys, GAME, "--policy", "run")
    assert len(found["policies"]) == 3
    assert found["notes"] == ["policy: the state after 60 iterations"]
    for each in found["policies"]:
        if solver == "policy-gradient":  # exact, lazy: at the vertex after finitely many steps
            assert each["verdict"] == "strict"
            assert each["pure"] == [[0, 0], [0, 0]]
        else:
            assert each["policy"][0][0][0] > 0.9
    assert "game.parameters.seed = 4 where the run has 0" in refused(capsys, GAME, "-g", "seed=4", "--policy", "run")
    assert main(["run", GAME, solver, "--iterations", "60", "--average", "--out", "mean", "--json"]) == 0
    capsys.readouterr()
    (only,) = told(capsys, GAME, "--policy", "mean")["policies"]
    assert only["verdict"] == "not-nash"
    assert only["policy"][0][0][0] > 0.8


def test_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for text, words in (
        ("empty", "config.json"),
        ("elsewhere", "the folder of a run"),
        ("0,0", "such as 0,0;0,0"),
        ("0,0;0,0,0", "such as 0,0;0,0"),
        ("0,2;0,0", "policy[0]: got '2'"),
        ("0,x;0,0", "policy[0]: got 'x'"),
        ("[[0, 0], [0, 5]]", "policy[1]"),
        ("[[0, 0], [0, 5]", "a table of states"),
        ("[]", "each of 2 players"),
        ("[[[0.5, 0.4], [1, 0]], [0, 0]]", "sums to 0.9"),
        ("[[true, false], [0, 0]]", "policy[0]"),
        ('[{"a": 1}, [0, 0]]', "policy[0]"),
        ("[" * 5000, "a table of states"),
    ):
        assert words in refused(capsys, GAME, "--policy", text)
    assert "tolerance" in refused(capsys, GAME, "--tolerance", "1")
    assert "tolerance" in refused(capsys, GAME, "--tolerance", "nan")
    assert "whose options are policy, tolerance" in refused(capsys, GAME, "--radius", "0.1")
    assert "whose options are policy, tolerance" in refused(capsys, GAME, "-s", "step_size=1")
    assert "a normal-form game" in refused(capsys, "matrix/chicken", "--policy", "0,1")
    assert "a graphon game" in refused(capsys, "graphon/beach", "--tolerance", "1e-6")
    assert "a batch of games" in refused(capsys, GAME, "-g", "games=3", "--policy", "0,0;0,0")
    assert "a batch of games" in refused(capsys, GAME, "-g", "games=3")
    assert "float64" in refused(capsys, GAME, "-g", "dtype=float32")
    assert "there are no certificates of other families" in refused(capsys, "variational/bilinear")
