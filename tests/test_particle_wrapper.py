"""Particle worlds as environments of PettingZoo: its own tests, and what mpe2 shows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

from gamesim.envs.sets.discs import Discs
from gamesim.envs.sets.reference import Reference
from gamesim.envs.sets.speaker_listener import SpeakerListener
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.envs.wrappers import as_aec, as_gymnasium, as_pettingzoo
from gamesim.errors import InvalidInput
from gamesim.games.worlds import Particles

WORLDS: dict[str, Callable[[], Discs]] = {
    "spread": lambda: Spread(),
    "spread-30": lambda: Spread(agents=30, steps=5),
    "spread-force": lambda: Spread(actions="continuous", variant="vmas"),
    "tag": lambda: Tag(prey=2),
    "reference": lambda: Reference(),
    "reference-loud": lambda: Reference(actions="continuous"),
    "speaker-listener": lambda: SpeakerListener(),
    "speaker-listener-loud": lambda: SpeakerListener(actions="continuous"),
}
ALL = pytest.mark.parametrize("name", WORLDS)


@ALL
def test_worlds_pass_pettingzoos_tests(name: str, capsys: Any) -> None:
    parallel_api_test(as_pettingzoo(WORLDS[name]()), num_cycles=40)
    parallel_seed_test(lambda: as_pettingzoo(WORLDS[name]()), num_cycles=20)
    assert "Passed" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Agents have different:UserWarning")  # teams do; mpe2 is excused by its name
@pytest.mark.filterwarnings("ignore:Observations are different shapes:UserWarning")
@pytest.mark.parametrize("name", [x for x in WORLDS if x != "spread-30"])
def test_worlds_of_turns_pass_pettingzoos_tests(name: str, capsys: Any) -> None:
    api_test(as_aec(WORLDS[name]()), num_cycles=20)
    seed_test(lambda: as_aec(WORLDS[name]()), num_cycles=10)
    assert "Passed" in capsys.readouterr().out


def test_an_episode_is_cut_off_after_its_steps_and_never_ends() -> None:
    env = as_pettingzoo(Spread(steps=3))
    env.reset(seed=1)
    ends = []
    while env.agents:
        _, _, terminated, truncated, _ = env.step(dict.fromkeys(env.agents, 1))
        ends.append((any(terminated.values()), all(truncated.values())))
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(InvalidInput, match="time is up"):
        env.step({})


def test_a_seed_determines_an_episode_and_luck_goes_on() -> None:
    env = as_pettingzoo(Spread())
    first, again = env.reset(seed=4)[0], env.reset()[0]
    assert not np.array_equal(first["agent_0"], again["agent_0"])
    assert np.array_equal(env.reset(seed=4)[0]["agent_0"], first["agent_0"])
    assert np.array_equal(env.reset()[0]["agent_0"], again["agent_0"])


def test_what_agents_do_reaches_the_world() -> None:
    env: Any = as_pettingzoo(SpeakerListener())
    env.reset(seed=0)
    seen, *_ = env.step({"speaker_0": 2, "listener_0": 4})
    assert seen["listener_0"][-3:].tolist() == [0, 0, 1]
    assert seen["listener_0"][:2].tolist() == [0, 0.5]  # up
    loud: Any = as_pettingzoo(SpeakerListener(actions="continuous"))
    loud.reset(seed=0)
    seen, *_ = loud.step({"speaker_0": np.array([0.25, 0, 1]), "listener_0": np.array([-1.0, 0.5])})
    assert seen["listener_0"][-3:].tolist() == [0.25, 0, 1]
    assert seen["listener_0"][:2].tolist() == [-0.5, 0.25]
    assert loud.action_space("speaker_0").low.tolist() == [0, 0, 0]
    assert loud.action_space("listener_0").low.tolist() == [-1, -1]


def test_the_state_is_the_set() -> None:
    env: Any = as_pettingzoo(Tag())
    env.reset(seed=0)
    assert env.state().shape == (6, 4)
    assert env.state_space.contains(env.state())
    assert torch.equal(env.world.restored(torch.from_numpy(env.state())).position, env.now.position)


@pytest.mark.parametrize(
    ("play", "complaint"),
    [
        (lambda env: env.step({"agent_0": 7, "agent_1": 0, "agent_2": 0}), "actions['agent_0']: got 7"),
        (lambda env: env.step({"agent_0": 0, "agent_1": 0}), "actions['agent_2']: got None"),
        (lambda env: env.step({"agent_0": 0.5, "agent_1": 0, "agent_2": 0}), "actions['agent_0']: got 0.5"),
    ],
)
def test_bad_actions_are_refused(play: Any, complaint: str) -> None:
    env = as_pettingzoo(Spread())
    env.reset(seed=0)
    with pytest.raises(InvalidInput) as refusal:
        play(env)
    assert str(refusal.value).startswith(complaint)


def test_bad_settings_are_refused() -> None:
    for make in (
        lambda: as_pettingzoo(Spread(), rounds=3),
        lambda: as_pettingzoo(Spread(), longest=3),
        lambda: as_pettingzoo(Spread(), agents=["a", "b"]),
        lambda: as_gymnasium(Spread()),  # type: ignore[arg-type]
        lambda: as_pettingzoo(Spread(actions="continuous", outside="refuse")).step({}),
    ):
        with pytest.raises(InvalidInput):
            make()
    env = as_pettingzoo(Spread(actions="continuous", outside="refuse"))
    env.reset(seed=0)
    with pytest.raises(InvalidInput, match="from -1 to 1"):
        env.step(dict.fromkeys(env.agents, np.array([3.0, 0.0])))
    with pytest.raises(InvalidInput, match="2 numbers"):
        env.step(dict.fromkeys(env.agents, np.array([3.0])))


def test_observations_are_those_of_mpe2() -> None:
    module = pytest.importorskip("mpe2.simple_spread_v3", exc_type=ImportError)
    theirs, ours = module.parallel_env(N=5), as_pettingzoo(Spread(agents=5, dtype="float64"))
    theirs.reset(seed=3)
    ours.reset(seed=0)
    inside = theirs.unwrapped.world.entities
    ours.now = Particles(  # type: ignore[union-attr]
        *(torch.tensor(np.array([getattr(e.state, k) for e in inside])) for k in ("p_pos", "p_vel"))
    )
    luck = np.random.default_rng(0)
    for _ in range(25):
        assert theirs.observation_space("agent_1").shape == ours.observation_space("agent_1").shape
        actions = {agent: int(luck.integers(5)) for agent in ours.agents}
        found, wanted = ours.step(actions), theirs.step(actions)
        for agent in actions:
            np.testing.assert_array_equal(found[0][agent], wanted[0][agent])
            assert found[1][agent] == pytest.approx(wanted[1][agent], abs=1e-12)
        assert found[3] == wanted[3]
