"""gamesim data make, inspect, export, import: what they print, write and refuse."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamesim import cli
from gamesim.data import SetData
from gamesim.envs.sets.spread import Spread
from gamesim.offline.recording import record_sets

MAKE = ["data", "make", "sets/spread", "-g", "steps=5", "--episodes", "6", "--no-references"]


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 2
    printed = capsys.readouterr()
    error = printed.err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert not printed.out
    return error


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_make_is_what_python_records(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = answered(
        capsys, *MAKE, "--agents", "2,4", "--behaviour", "random", "--behaviour", "medium(0.2)", "--seed", "3"
    )
    data = SetData.load(here / made["data"])
    places = [Spread(agents=n, steps=5) for n in (2, 4)]
    again = record_sets(places, ["random", "medium(0.2)"], 6, seed=3, references=False)
    assert data.content == again.content == made["content"]
    assert made["data"] == "spread-random-medium-0.2.npz"
    assert made["transitions_by_agents"] == {"2": 60, "4": 60}


def test_make_and_inspect_in_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "make", "sets/spread", "--behaviour", "replay", "--episodes", "50"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("1,250 transitions of 50 episodes, 3 agents, sets/spread by replay(1)")
    assert "now: gamesim data inspect spread-replay.npz" in said
    assert cli.main(["data", "inspect", "spread-replay.npz"]) == 0
    said = capsys.readouterr().out
    assert "sets/spread repeats 1,000 next states and 1,000 rewards of 1,000 transitions" in said
    assert "0 episodes ended by themselves, 50 were cut off" in said
    rows = [line.split("│") for line in said.splitlines() if line.count("│") == 6]
    assert [row[2].strip() for row in rows] == [f"replay({x})" for x in ("1", "0.75", "0.5", "0.25", "0")]
    assert all(row[0].strip() == "sets/spread, mpe2" for row in rows)
    assert float(rows[0][-1]) < 40 < 80 < float(rows[-1][-1])


def test_inspect_in_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = answered(capsys, "data", "make", "sets/tag", "--behaviour", "expert", "--episodes", "4", "--out", "tag.npz")
    found = answered(capsys, "data", "inspect", "tag.npz")
    assert found["content"] == made["content"]
    assert found["bytes"] == (here / "tag.npz").stat().st_size
    assert found["groups"][0]["score"] is None  # two teams have no one score
    assert found["groups"][0]["agents"] == [4]
    assert found["replayed"] == [{"transitions": 100, "states": 100, "rewards": 100}]


def test_out_and_in_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answered(capsys, *MAKE, "--agents", "2,3", "--out", "both.npz")
    told = answered(capsys, "data", "export", "both.npz", "--to", "omar", "--agents", "3")
    assert told == {"out": "both.omar", "form": "omar", "episodes": 6, "transitions": 30}
    back = answered(capsys, "data", "import", "both.omar", "--world", "sets/spread", "-g", "steps=5", "--no-references")
    assert back["replayed"] == {"transitions": 30, "states": 30, "rewards": 30}
    assert back["data"] == "both.omar.sets.npz"
    data = SetData.load("both.omar.sets.npz")
    first = SetData.load("both.npz").select(range(6, 12))
    assert np.allclose(data.tokens, first.tokens, atol=1e-5)
    answered(capsys, "data", "export", "both.npz", "--to", "d3rlpy", "--agents", "2")
    assert np.load("both.d3rlpy.npz")["observations"].shape == (30, 16)
    wrong = ["data", "import", "both.omar", "--world", "sets/spread", "-g", "variant=omar", "--out", "wrong.npz"]
    assert cli.main(wrong) == 0
    assert "note: sets/spread (variant omar) repeats only" in capsys.readouterr().err


def test_import_of_plain_arrays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(0)
    np.savez("mine.npz", obs=draw.normal(size=(8, 3, 6)), acts=draw.integers(0, 5, (8, 3)), rews=np.ones((8, 3)))
    assert "steps: got 'none'" in refused(capsys, "data", "import", "mine.npz")
    found = answered(capsys, "data", "import", "mine.npz", "--steps", "4", "--behaviour", "me")
    assert found["episodes_by_behaviour"] == {"me": 2}
    assert any("the last step of each episode is left out" in note for note in found["notes"])
    assert answered(capsys, "data", "inspect", "mine.sets.npz")["replayed"] == [None]


def test_refusals(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*MAKE, "--out", "here.npz"]) == 0
    capsys.readouterr()
    assert "a file that is not there yet" in refused(capsys, *MAKE, "--out", "here.npz")
    assert "a file that ends in .npz" in refused(capsys, *MAKE, "--out", "here.csv")
    assert "nowhere does not" in refused(capsys, *MAKE, "--out", "nowhere/x.npz")
    assert "whole numbers of at least 1" in refused(capsys, *MAKE, "--agents", "3,0")
    assert "nothing beside --agents" in refused(capsys, *MAKE, "-g", "agents=2", "--agents", "3")
    assert "did you mean medium" in refused(capsys, *MAKE, "--behaviour", "mediun")
    assert "did you mean sets/spread" in refused(capsys, "data", "make", "sets/sprea")
    assert "a world of sets" in refused(capsys, "data", "make", "matrix/chicken")
    assert "parameter of sets/tag" in refused(capsys, "data", "make", "sets/tag", "--agents", "3")
    assert "did you mean" in refused(capsys, "data", "inspec")
    assert "this is no such file" in refused(capsys, "data", "inspect", "none.npz")
    Path("here.npz").write_bytes(Path("here.npz").read_bytes()[:-100])
    assert "whole" in refused(capsys, "data", "inspect", "here.npz")
    assert "whole" in refused(capsys, "data", "export", "here.npz", "--to", "omar")
    assert "nothing without --world" in refused(capsys, "data", "import", "here.npz", "-g", "agents=3")
    Path("empty").mkdir()
    assert "a folder with obs_0.npy (OMAR) or data (Minari)" in refused(capsys, "data", "import", "empty")
    assert "one of 3, as the data have" in refused(capsys, *_fine(capsys), "--to", "omar", "--agents", "4")
    assert sorted(p.name for p in here.iterdir()) == ["empty", "fine.npz", "here.npz"]


def _fine(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main([*MAKE, "--out", "fine.npz"]) == 0
    capsys.readouterr()
    return ["data", "export", "fine.npz"]


@pytest.mark.parametrize("command", ["make", "inspect", "export", "import"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"gamesim data {command} " in said  # an example
    assert "--json" in said
