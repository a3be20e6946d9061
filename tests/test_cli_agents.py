"""sample, fit, certify on the command line, and a learned game run like any other."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim import cli
from gamesim.estimation import load_estimate
from gamesim.formats.agents import read_agents
from gamesim.parameters import plain
from gamesim.populations.behaviour import roam
from gamesim.running import policy_named

SAMPLE = ["sample", "graphon/sis", "-g", "graphon=stochastic-block", "-g", "horizon=20", "--agents", "12"]


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    return error


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    assert cli.main([*SAMPLE, "--episodes", "200", "--positions", "unknown"]) == 0
    assert "gamesim fit agents.npz" in capsys.readouterr().out
    return tmp_path / "agents.npz"


def test_sampling_is_what_python_samples(agents: Path) -> None:
    data = read_agents(agents)
    game = gs.make("graphon/sis", graphon="stochastic-block", horizon=20)
    again = gs.sample_agents(game, agents=12, episodes=200, positions="unknown")
    assert data.positions is None
    assert data.content == again.content
    assert data.state_names == ("susceptible", "infected")


def test_fit_and_run(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answered(capsys, "fit", "agents.npz", "--bootstrap", "5")
    assert found["estimate"] == "agents.fit.json"
    assert found["placed"] == "labels"
    assert set(found["numbers"]) == {"W[0,0]", "W[0,1]", "W[1,1]", "width[0]"}
    assert all(n["source"] == "bootstrap" and n["low"] <= n["high"] for n in found["numbers"].values())
    assert len(found["labels"]) == 12
    assert all(Path(p).stat().st_size > 5000 for p in found["figures"])
    saved = load_estimate("agents.fit.json")
    assert plain(saved.written) == json.loads(Path("agents.fit.json").read_text(encoding="utf-8"))

    from_file = answered(capsys, *RUN, "-g", "data=agents.fit.json")
    both = answered(capsys, *RUN, "-g", "data=agents.npz", "--out", "both")
    for metric, row in both["metrics"].items():  # fit, then run; or in one
        assert row == pytest.approx(from_file["metrics"][metric], abs=1e-9)
    assert from_file["metrics"]["regularized_exploitability"]["last"] < 1e-3
    config = json.loads((Path(from_file["run"]) / "config.json").read_text(encoding="utf-8"))
    assert config["game"]["parameters"]["data"]["data"]["content"] == read_agents(agents).content
    assert answered(capsys, *RUN, "-g", "data=agents.fit.json", "--resume", "--out", from_file["run"])


RUN = ["run", "graphon/fitted", "policy-mirror-descent", "-s", "temperature=1", "--iterations", "40"]


def test_a_table_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = gs.sample_agents(gs.make("graphon/sis", horizon=5), agents=4, episodes=30)
    rows = data.frame()
    rows.to_csv("mine.csv", index=False)
    found = answered(capsys, "fit", "mine.csv", "--graphon", "exp", "--bootstrap", "0", "--out", "fitted.json")
    assert found["placed"] == "known"
    assert cli.main(["fit", "mine.csv", "--graphon", "erdos-renyi(1)", "--bootstrap", "0"]) == 0
    assert "was given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "nothing.npz"], "nothing.npz"),
        (["fit", "agents.npz", "--graphon", "expp"], "did you mean exp"),
        (["fit", "agents.npz", "--graphon", "blocks(40)"], "graphon"),
        (["fit", "agents.npz", "--law", "kernel(0)"], "bandwidth"),
        (["fit", "agents.npz", "--positions", "known"], "positions"),
        (["fit", "agents.npz", "--graphon", "exp", "--positions", "labels"], "positions"),
        (["fit", "agents.npz", "--out", "agents.npz"], "out"),
        (["fit", "agents.npz", "--mean", "nan"], "mean"),
        (["sample", "graphon/sis"], "out"),
        (["sample", "graphon/sis", "--out", "no/such/folder.npz"], "out"),
        (["sample", "graphon/sis", "--out", "a.npz", "--policy", "nowhere"], "policy"),
        (["sample", "graphon/sis", "--out", "a.npz", "--density", "0.5"], "density"),
        (["sample", "graphon/sis", "--out", "a.npz", "--density", "0", "--population", "finite"], "density"),
        (["run", "graphon/fitted", "gmfg-ppo"], "data"),
        (["run", "graphon/fitted", "gmfg-ppo", "-g", "data=nothing.npz"], "nothing.npz"),
        (["run", "graphon/fitted", "gmfg-ppo", "-g", "data=agents.npz", "-g", "learn.graphon=7"], "graphon"),
        (["certify", "graphon/sis", "--temperature", "-1"], "temperature"),
        (["certify", "graphon/siss"], "did you mean graphon/sis"),
    ],
)
def test_bad_input(agents: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    before = sorted(agents.parent.iterdir())
    assert words in refused(capsys, *arguments)
    assert sorted(agents.parent.iterdir()) == before  # nothing is left behind


def test_an_estimate_that_is_none(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("{}", "[1, 2]", '{"format": "gamesim estimate 1"}', "\0", '{"a": NaN}'):
        Path("bad.json").write_text(text, encoding="utf-8")
        assert "bad.json" in refused(capsys, *RUN, "-g", "data=bad.json")


def test_certify(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["-g", "positions=11", "-g", "horizon=5", "-g", "crowd=8"]
    found = answered(capsys, "certify", "graphon/beach", *small, "--temperature", "1")
    assert found["game"] == "graphon/beach"
    assert found["monotone"]["verdict"] == "holds"
    assert found["transitions_depend_on_population"] is False
    assert 0 < found["proposal"]["policy-mirror-descent"]["step_size"] < 1
    found = answered(capsys, "certify", "graphon/beach", *small, "-g", "graphon=ranked-attachment")
    assert found["monotone"]["verdict"] == "fails"
    assert found["monotone"]["violation"] > 0
    assert cli.main(["certify", "graphon/beach", *small]) == 0
    assert "weakly monotone" in capsys.readouterr().out


def test_policies_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    game = gs.make("graphon/beach", horizon=12, positions=7)
    run = answered(capsys, "run", "graphon/beach", "gmfg-ppo", "-g", "horizon=12", "-g", "positions=7",
                   "--iterations", "5", "--out", "a")  # fmt: skip
    last = gs.solve(game, gs.make_solver("gmfg-ppo"), iterations=5).policy
    torch.testing.assert_close(policy_named(game, run["run"], 0), last)
    assert cli.main(["sample", "graphon/beach", "-g", "horizon=12", "--policy", "roam", "--episodes", "50"]) == 0
    (roaming,), (again,) = roam(game, 3), roam(game, 3)
    assert torch.equal(roaming, again)
    assert torch.equal(roaming[0], roaming[4])
    assert not torch.equal(roaming[4], roaming[5])
    moved = game.flow((roaming,)).var((-3, -1)).mean() / game.flow(game.start()).var((-3, -1)).mean().clamp(min=1e-12)
    assert float(moved) > 100
    assert bool(read_agents("agents.npz").rewards.isfinite().all())
