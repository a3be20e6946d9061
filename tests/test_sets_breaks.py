"""Broken on purpose: play of sets recorded, learned from and measured with everything that does not fit."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gamesim as gs
from gamesim.cli.shell import main
from gamesim.data.sets import SetData
from gamesim.envs.sets.recorded import RecordedPlay
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.envs.wrappers.particles import Crowd
from gamesim.errors import Caution, InvalidInput
from gamesim.loop import Status
from gamesim.offline.recording import measured_references, record_sets
from gamesim.randomness import Stream

NETWORK = "deep-sets(width=8, layers=1)"
SMALL = ["-s", f"network={NETWORK}", "-s", "batch_size=4", "-g", "evaluation_episodes=2", "--iterations", "2"]


@pytest.fixture(scope="module")
def data() -> SetData:
    return record_sets([Spread(agents=2), Spread(agents=3)], "medium", episodes=4)


@pytest.fixture
def here(data: SetData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    data.save(tmp_path / "d.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def solver(name: str = "bc", **given: Any) -> Any:
    return gs.make_solver(name, **{"network": NETWORK, "batch_size": 4} | given)


def last(task: RecordedPlay) -> dict[str, float]:
    result = gs.solve(task, solver(), iterations=1)
    return {name: float(rows[-1]) for name, rows in result.trace.metrics.items()}


# --- the command line: one line, exit code 2, nothing left behind -----------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("run sets/spread bc", "game: got 'Spread', expected .* play is recorded first: sets/offline, -g world=ID or"),
        ("run sets/offline bc -g agents=[]", "agents: got .*, expected one number or more, each once"),
        ("run sets/offline bc -g agents=[2,2]", "agents: got .2, 2., expected one number or more, each once"),
        ("run sets/offline bc -g agents=1000000", "agents: got 1000000, expected at most 10,000"),
        ("run sets/offline bc -g world=spread", "world: got 'spread', expected one of .*sets/spread.*in full"),
        ("run sets/offline bc -g world=", "world: got '', expected an id"),
        ("run sets/offline bc -g world=sets/offline", "world: got .*, expected a world of sets: sets/reference, .*"),
        ("run sets/offline bc -g world=sets/spread(variant=omar", "world: got .*, expected an id, or an id with"),
        ("run sets/offline bc -g world=sets/spread(omar)", "world: got .*, expected name=value, .*'omar' is none"),
        ("run sets/offline bc -g world=sets/spread(agents=1e9)", "world.agents: got 1000000000, expected at most"),
        ("run sets/offline bc -g world=sets/spread(agents=2) -g agents=3", "agents: got 3, expected nothing beside"),
        ("run sets/offline bc -g world=sets/tag -g agents=4", "agents: got 4, expected none: sets/tag has no .*"),
        ("run sets/offline bc -g data=d.npz -g world=sets/spread(variant=vmas)", "world: .*variant mpe2.*reward:"),
        ("run sets/offline bc -g evaluation_episodes=1000000000", "evaluation_episodes: .*, expected at most"),
        ("run sets/offline bc -g data=d.npz -s batch_size=1000000000", "batch_size: got 1000000000, expected at most"),
        ("run sets/offline bc -g data=d.npz -s network=mlp(width=1000000000)", "network: .* at most .* weights"),
        ("run sets/offline bc -g data=d.npz --start random", "start: got 'a policy', expected none: solvers draw"),
        ("run sets/offline bc -g data=d.npz --tolerance 1", "tolerance: got 1.0, expected none: .* its return"),
        ("run sets/offline model-based-pessimism -s members=100000", "members: got 100000, expected .* to 1,000"),
        ("data make sets/spread --agents 1000000000", "agents: got 1000000000, expected a whole number from 1 to"),
        ("data make sets/spread --agents 100000 --episodes 1", "world: got 'one of 200,000 entities', expected"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_a_line(given: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert re.search(words, said.err), said.err
    assert {p.name for p in here.iterdir()} <= {"d.npz", "runs"}
    assert not list(here.glob("runs/*"))


def test_a_world_is_typed_with_its_parameters(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = "world=sets/spread(variant=omar, actions=continuous, steps=5)"
    given = ["run", "sets/offline", "bc", "-g", world, "-g", "agents=[2,3]", "-g", "episodes=2", *SMALL]
    assert main([*given, "--name", "x", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["metrics"]) == {"return", "score", "return_2", "return_3", "loss"}


def test_a_truncated_file_starts_no_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (here / "d.npz").read_bytes()
    for left in (0, 30, len(whole) // 2, len(whole) - 1):
        (here / "d.npz").write_bytes(whole[:left])
        assert main(["run", "sets/offline", "bc", "-g", "data=d.npz", *SMALL]) == 2
        assert "expected an .npz archive" in capsys.readouterr().err
    assert not list(here.glob("runs/*"))


# --- worlds to measure in ---------------------------------------------------------------------------------------------


def test_what_is_not_typed_is_as_in_the_data(data: SetData) -> None:
    def worlds(**given: Any) -> list[tuple[Any, ...]]:
        return [(w.agents, w.variant, w.radius) for w in RecordedPlay(evaluation_episodes=2, **given).worlds]  # type: ignore[attr-defined]

    assert worlds(data=data, world="sets/spread") == [(2, "mpe2", None), (3, "mpe2", None)]
    assert worlds(data=data, world="sets/spread(radius=2)") == [(2, "mpe2", 2.0), (3, "mpe2", 2.0)]
    assert worlds(data=data, agents=(7, 5)) == [(7, "mpe2", None), (5, "mpe2", None)]
    assert worlds(data=data, world=Spread(radius=0.5), agents=(2, 4)) == [(2, "mpe2", 0.5), (4, "mpe2", 0.5)]
    only = data.select(data.agents[data.episode_offsets[:-1]] == 3)  # its header names both worlds
    assert worlds(data=only) == [(3, "mpe2", None)]


def test_a_score_is_on_the_scale_of_its_own_world(data: SetData) -> None:
    def check(task: RecordedPlay) -> None:
        law = task.start()
        found, scores = task.metrics(law), []
        for world in task.worlds:
            scale = measured_references(world)
            returned = float(world.returns_of_law(law[0], task.evaluation_episodes))
            scores.append(100 * (returned - scale["random"]) / (scale["expert"] - scale["random"]))
        assert float(found["score"]) == pytest.approx(sum(scores) / len(scores), rel=1e-4)

    few = {"data": data, "evaluation_episodes": 2}
    check(RecordedPlay(agents=(3, 2), **few))  # not in the order of the data
    check(RecordedPlay(agents=5, **few))  # in no world of the data
    check(RecordedPlay(world=Spread(agents=2, steps=3), **few))
    check(RecordedPlay(world=Spread(agents=2, dtype="float64"), **few))
    check(RecordedPlay(world=Spread(agents=2, variant="vmas"), force=True, **few))
    nothing = replace(data, header=data.header | {"references": {}})
    assert "score" not in RecordedPlay(data=nothing, evaluation_episodes=2).metrics(RecordedPlay(data=data).start())
    half = replace(data, header=data.header | {"references": {"0": {"random": 1.0}}})
    assert "score" not in last(RecordedPlay(data=half, evaluation_episodes=2))


def test_worlds_with_as_many_agents_are_all_measured() -> None:
    both = record_sets([Spread(agents=3), Spread(agents=3, variant="omar")], "random", episodes=2)
    found = last(RecordedPlay(data=both, evaluation_episodes=2))
    assert found["return_world_0"] < 0 < found["return_world_1"]
    assert found["return"] == pytest.approx((found["return_world_0"] + found["return_world_1"]) / 2, rel=1e-5)


# --- data that are not what they say ----------------------------------------------------------------------------------


def test_sets_of_several_sizes_in_one_unknown_world_are_kept_apart(data: SetData) -> None:
    header = data.header | {"worlds": [{"id": "mine", "parameters": {}}], "references": {}}
    one = replace(data, world=torch.zeros_like(data.world), header=header)
    task = RecordedPlay(data=one, world=Spread(agents=2), force=True, evaluation_episodes=2)
    known = RecordedPlay(data=data, evaluation_episodes=2)
    for t in range(3):
        x, y = task.batch(5, Stream(0, t)), known.batch(5, Stream(0, t))
        assert torch.equal(x.chosen, y.chosen)
        assert torch.equal(x.tokens, y.tokens)
        assert torch.equal(x.rewards, y.rewards)
    with pytest.raises(InvalidInput, match=r"world: got 'mine', expected one of .*; .* say world="):
        RecordedPlay(data=one)


def test_headers_and_states_that_do_not_fit_are_refused(data: SetData) -> None:
    worlds = [data.header["worlds"][1], data.header["worlds"][0]]
    with pytest.raises(
        InvalidInput, match=r"data.agents\[0\]: got '2 agents among 4 .*3 among 6, as header.worlds\[0\]"
    ):
        RecordedPlay(data=replace(data, header=data.header | {"worlds": worlds}))
    types = data.types.clone()
    types[8:10] = torch.tensor([1, 0])  # of state 2: a landmark acts
    with pytest.raises(
        InvalidInput, match=r"data.types\[8:12\]: got .*1, 0, 1, 1.*, expected .0, 0, 1, 1., as in state 0"
    ):
        RecordedPlay(data=replace(data, types=types))
    agents, kept = data.agents.clone(), torch.ones(len(data.actions), dtype=torch.bool)
    agents[3], kept[6] = 1, False
    fewer = replace(data, agents=agents, actions=data.actions[kept], rewards=data.rewards[kept])
    with pytest.raises(InvalidInput, match=r"data.agents\[3\]: got '1 agents', expected 2, as before in its episode"):
        RecordedPlay(data=fewer)


def test_data_that_hold_no_numbers_or_stand_elsewhere_are_refused(data: SetData) -> None:
    with pytest.raises(InvalidInput, match=r"tokens: got 'torch.float32.* on meta', expected real numbers, on"):
        data.to("meta")
    world = Spread()
    object.__setattr__(world, "device", "meta")
    with pytest.raises(InvalidInput, match="world: got 'one on meta', expected one on cpu, as device says"):
        RecordedPlay(world=world)
    state = Spread().begin((2,), Stream(0))
    with pytest.raises(InvalidInput, match="actions: got 'on meta'"):
        Spread().step(state, torch.zeros(2, 3, dtype=torch.long, device="meta"))
    with pytest.raises(InvalidInput, match="actions: got 'list', expected a tensor"):
        Spread().step(state, [[0, 0, 0]])  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [(3, "random"), ([], "random"), ([3], "random"), (Spread(), 3), (Spread(), [])])
def test_recording_refuses_what_is_no_world_and_no_behaviour(given: tuple[Any, Any]) -> None:
    with pytest.raises(InvalidInput):
        record_sets(*given, episodes=1)
    with pytest.raises(InvalidInput, match="worlds: got 300, expected 1 to 256"):  # before any of them is played
        record_sets([Spread(agents=n) for n in range(1, 301)], "random", episodes=1)


# --- learning ---------------------------------------------------------------------------------------------------------


def test_weights_of_another_network_are_refused(data: SetData) -> None:
    task = RecordedPlay(data=data, evaluation_episodes=2)
    actor = solver().actor(task)
    with pytest.raises(InvalidInput, match=r"policy\[0\]: got 'shape .3, 4.', expected shape .6, 8."):
        task.metrics((torch.zeros(3, 4), torch.zeros(5)), actor)
    with pytest.raises(InvalidInput, match=r"policy\[2\]: got 'nothing', expected shape"):
        task.metrics(tuple(torch.zeros(s) for s in actor.network.shapes[:2]), actor)
    small = solver(network="mlp(width=8)").actor(task)
    weights = tuple(torch.zeros(s) for s in small.network.shapes)
    with pytest.raises(InvalidInput, match="at most 6, for which this mlp was made"):
        RecordedPlay(data=data, agents=9, evaluation_episodes=2).metrics(weights, small)


def test_rewards_that_never_change_are_learned_from(data: SetData) -> None:
    """Means of 0.1 over 2 and over 3 agents differ by rounding, which is no scale; 0 everywhere bounds values by 0."""
    for reward in (0.0, 0.1, -3.0):
        task = RecordedPlay(data=replace(data, rewards=torch.full_like(data.rewards, reward)), evaluation_episodes=2)
        assert task.reward_scale == 1.0
        result = gs.solve(task, solver("atac", warm_start=0), iterations=4, seeds=20)
        assert result.status is Status.OUT_OF_ITERATIONS


def test_values_are_in_units_of_reward(data: SetData) -> None:
    """Rewards four times as large, a power of two, change nothing but the unit."""
    tasks = [
        RecordedPlay(data=replace(data, rewards=scale * data.rewards), evaluation_episodes=2) for scale in (1.0, 4.0)
    ]
    one, four = (gs.solve(task, solver("atac", warm_start=3), iterations=8, every=4, seeds=2) for task in tasks)
    assert all(torch.equal(x, y) for x, y in zip(one.policy, four.policy, strict=True))
    for name in ("value", "residual"):
        assert torch.equal(4 * one.metric(name), four.metric(name))
        assert float(one.metric(name)[:, -1].abs().min()) > 0


def test_averages_and_limits_go_together(data: SetData) -> None:
    task = RecordedPlay(data=data, evaluation_episodes=2)
    assert gs.solve(task, solver("atac"), iterations=3, average=True, seeds=2).status is Status.OUT_OF_ITERATIONS
    wild = solver("atac", step_size=3.0, beta=0.01, warm_start=0, radius=1e6)
    with pytest.warns(Caution, match="the critics run away"):
        assert gs.solve(task, wild, iterations=60, every=2, average=True).status is Status.DIVERGED


def test_models_that_run_away_end_the_run_and_the_best_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ["-s", "step_size=1e300", "-s", "fit=2", "-s", "members=2", "--every", "2", "--name", "x", "--json"]
    assert main(["run", "sets/offline", "model-based-pessimism", "-g", "data=d.npz", *SMALL, *wild]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "diverged"
    assert (here / "runs/x/best.safetensors").exists()


def test_batches_of_several_hyper_parameters_are_the_separate_runs(data: SetData) -> None:
    task = RecordedPlay(data=data, evaluation_episodes=2, precision="float64")
    beta, rate = torch.tensor([[1.0], [30.0]]), torch.tensor([0.01, 0.1, 0.5])
    many = gs.solve(task, solver("atac", warm_start=1, beta=beta, rate=rate), iterations=4, every=4, seeds=2)
    for i in range(2):
        for j in range(3):
            one = solver("atac", warm_start=1, beta=float(beta[i, 0]), rate=float(rate[j]))
            alone = gs.solve(task, one, iterations=4, every=4, seeds=2)
            for x, y in zip(many.policy, alone.policy, strict=True):
                torch.testing.assert_close(x[:, i, j], y, atol=1e-9, rtol=0)


# --- one agent at a time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [None, "x", ["a", "b"], [0.0], [[0.0], [0.0]], [float("nan"), 0.0], {}])
def test_the_wrapper_refuses_what_is_no_force(action: Any) -> None:
    env = Crowd(Spread(actions="continuous"))
    env.reset(seed=0)
    with pytest.raises(InvalidInput, match="actions"):
        env.step(dict.fromkeys(env.possible_agents, action))


@pytest.mark.parametrize(
    "call",
    [lambda: Crowd(3), lambda: Crowd(Tag()).reset(seed=-1), lambda: Crowd(Tag()).reset(seed="x")],  # type: ignore[arg-type]
    ids=["world", "negative seed", "text"],
)
def test_the_wrapper_refuses_other_worlds_and_seeds(call: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInput):
        call()


def test_any_whole_seed_will_do() -> None:
    env = Crowd(Tag())
    a, b = (env.reset(seed=seed)[0]["adversary_0"] for seed in (np.int64(3), 3))
    assert np.array_equal(a, b)
    env.reset(seed=2**62)
