"""Estimates as files: the same game to the last bit, and whatever else stands in a file is refused in a line."""

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamesim.envs import SIS, Beach
from gamesim.errors import InvalidInput
from gamesim.estimation import Estimate, FittedGame, fit_game, load_estimate
from gamesim.estimation.laws import Linear
from gamesim.estimation.learning import Learner
from gamesim.graphons import Exponential, StochasticBlock
from gamesim.populations import sample_agents
from gamesim.populations.behaviour import roam

GAME = SIS(graphon=Exponential(3.0), horizon=6)
BEACH = Beach(graphon=StochasticBlock(), states=3, bar=1, horizon=5)
FUZZ = settings(
    max_examples=100, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


KINDS: dict[str, dict[str, Any]] = {
    "kernel": {"graphon": "exp", "law": "kernel(0.2)"},
    "labels": {"graphon": "blocks(2)", "positions": "labels"},
    "mean": {"graphon": "blocks(2)", "mean": 0.2, "law": "linear"},
    "mechanism": {"graphon": "low-rank(1, 1)", "law": "graphon/sis", "positions": "sorted"},
    "normalize": {"graphon": "exp", "normalize": True, "law": "polynomial(2)"},
    "beach": {"graphon": "stochastic-block"},
    "bootstrap": {"graphon": "exp", "bootstrap": 5},
}


@cache
def learned(kind: str) -> Estimate:
    game, policy = (BEACH, roam(BEACH)) if kind == "beach" else (GAME, None)
    return fit_game(sample_agents(game, policy, agents=5, episodes=30), restarts=3, **KINDS[kind]).estimate


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_is_the_same(kind: str, tmp_path: Path) -> None:
    estimate = learned(kind)
    path = estimate.save(tmp_path / "a.json")
    again = load_estimate(path)
    assert again.written == estimate.written
    assert again.plain() == estimate.plain()
    games = FittedGame(data=estimate, positions=5), FittedGame(data=str(path), positions=5)
    policy = games[0].start()
    for one, other in zip(
        *((g.flow(policy), *g.feedback(policy), g.exploitability(policy)) for g in games), strict=True
    ):
        assert torch.equal(one, other)
    assert games[0].state_names == games[1].state_names
    assert again.save(tmp_path / "b.json").read_bytes() == path.read_bytes()


def test_a_file_is_strict_json_and_says_how_the_scale_was_settled(tmp_path: Path) -> None:
    path = learned("labels").save(tmp_path / "a.json")
    data = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert data["scale"].startswith("only graphon times response is known")
    assert data["learner"]["graphon"] == "blocks(2)"
    assert data["data"]["agents"] == 5


def test_what_cannot_be_written_down_is_refused(tmp_path: Path) -> None:
    estimate = fit_game(sample_agents(GAME, agents=3, episodes=5), graphon=lambda x, y: 0 * x + 0 * y + 0.5).estimate
    with pytest.raises(InvalidInput, match="graphon: got"):
        estimate.save(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_a_learner_that_cannot_apply_is_refused(tmp_path: Path) -> None:
    path = learned("kernel").save(tmp_path / "a.json")
    with pytest.raises(InvalidInput, match="learn: got"):
        FittedGame(data=str(path), learn=Learner(law=Linear()))


HOSTILE = {
    "format": "gamesim estimate 2",
    "graphon.kind": "os:system",
    "graphon.theta": [1, 2],
    "graphon.theta ": "exp(3)",
    "horizon": 1e300,
    "horizon ": -1,
    "horizon  ": True,
    "initial": [0.5, 0.4],
    "initial ": [],
    "positions": [2.0] * 5,
    "positions ": "somewhere",
    "labels": [-1] * 5,
    "labels ": [0.5] * 5,
    "numbers": {"theta": {"value": "3"}},
    "numbers ": [1],
    "warnings": "abc",
    "warnings ": ["\x1b[31m red"],
    "states": ["a"],
    "states ": ["a\nb", "c"],
    "normalize": 1,
    "log_likelihood": None,
    "condition": [[1.0]],
    "scale": 3,
    "response.kind": "played",
    "response.kind ": "pickled",
    "response.scale": 0,
    "response.scale ": "1",
    "response.theta": [[[[1.0]]]],
    "response.theta ": 10**400,
    "response.rho": [[[None]]],
    "response.features": {"degree": 10**9},
    "response.features ": {"degree": 20},
    "response.features  ": {},
    "response.features.width": 0,
    "response.features.landmarks": [[0.1]],
}


@pytest.mark.parametrize("field", HOSTILE)
def test_files_that_were_tampered_with(field: str, tmp_path: Path) -> None:
    data = copy.deepcopy(learned("kernel").written)
    *inner, last = field.strip().split(".")
    at = data
    for name in inner:
        at = at[name]
    at[last] = HOSTILE[field]
    refused(tmp_path, json.dumps(data))


@pytest.mark.parametrize(
    ("game", "parameters"),
    [
        ("graphon/fitted", {"data": "agents.npz"}),
        ("graphon/fitted", {}),
        ("graphon/sis", {"graph": "/etc/passwd"}),
        ("graphon/sis", {"device": "cuda:7"}),
        ("graphon/sis", {"positions": 10**9}),
        ("graphon/sis", {"infection": "0.5"}),
        ("graphon/sis", {"infection": 2.0}),
        ("graphon/beach", {}),
        ("mean-field/rock-paper-scissors", {}),
        ("os:system", {}),
        (["graphon/sis"], {}),
    ],
)
def test_games_that_a_file_may_not_name(game: Any, parameters: dict[str, Any], tmp_path: Path) -> None:
    data = copy.deepcopy(learned("mechanism").written)
    data["response"] |= {"game": game, "parameters": parameters}
    refused(tmp_path, json.dumps(data))


@pytest.mark.parametrize("text", ["{", "null", '{"format": "gamesim estimate 1"}'])
def test_files_that_say_too_little(text: str, tmp_path: Path) -> None:
    refused(tmp_path, text)


def refused(folder: Path, text: str) -> None:
    path = folder / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput) as error:
        load_estimate(path)
    assert re.fullmatch(r".*a\.json.*", str(error.value))  # one line


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@FUZZ
@given(kind=st.sampled_from(sorted(KINDS)), where=st.lists(st.integers(0, 30), min_size=1, max_size=5), value=junk)
def test_any_part_may_be_junk(kind: str, where: list[int], value: Any, tmp_path: Path) -> None:
    """A file with one part replaced is refused in a line, or read as an estimate that can be played."""
    data = copy.deepcopy(learned(kind).written)
    at: Any = data
    for i, step in enumerate(where):
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = keys[step % len(keys)]
        if i == len(where) - 1 or not isinstance(at[key], dict | list) or not at[key]:
            at[key] = value
            break
        at = at[key]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data).replace("Infinity", "1e999"), encoding="utf-8")
    try:
        found = load_estimate(path)
    except InvalidInput:
        refused(tmp_path, path.read_text(encoding="utf-8"))
        return
    assert found.response.transition(0, found.initial[None]).isfinite().all()
    str(found)


@FUZZ
@given(text=st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_files_that_are_something_else(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"a\.json") as error:
        load_estimate(path)
    assert "\n" not in str(error.value)
