"""Everybody's environments as simulators: spaces, turns, masks, agents that leave, contracts that are broken."""

import copy
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from gamesim.envs.wrappers import PettingZooSimulator, as_simulator
from gamesim.envs.wrappers.copies import copy_of
from gamesim.envs.wrappers.spaces import coding
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.randomness import Stream
from little_environments import Corridor, Drift, Leaving, Nim, Switches

FINITE = [
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([3, 2, 2], start=[1, 0, 5]),
    spaces.MultiDiscrete([[2, 3], [1, 2]]),
    spaces.MultiBinary([2, 2]),
    spaces.Box(-1, 2, (2,), np.int8),
    spaces.Tuple([spaces.Discrete(2), spaces.Tuple([spaces.Discrete(3, start=1), spaces.MultiBinary(2)])]),
    spaces.Dict({"a": spaces.Discrete(3), "b": spaces.MultiDiscrete([2, 2])}),
]


@pytest.mark.parametrize("space", FINITE, ids=range(len(FINITE)))
def test_every_element_has_one_number(space: Any) -> None:
    found = coding(space, "space")
    elements = [found.element(k) for k in range(found.size)]
    assert all(space.contains(x) for x in elements)
    assert [found.encode(x) for x in elements] == list(range(found.size))
    assert len({str(x) for x in elements}) == found.size
    space.seed(0)
    for _ in range(20):
        drawn = space.sample()
        assert str(found.element(found.encode(drawn))) == str(elements[found.encode(drawn)])
    for stranger in (None, "x", 99, np.full((2, 2), 99), (0,), {}, 0.5):
        with pytest.raises(InvalidInput, match=r"space: got .*, expected an element of"):
            found.encode(stranger)


def test_the_size_is_the_product() -> None:
    assert [coding(space, "space").size for space in FINITE] == [4, 12, 12, 16, 16, 24, 12]
    with pytest.raises(InvalidInput, match=r"space: got .* 10\^30 elements', expected at most"):
        coding(spaces.MultiDiscrete([10] * 30), "space")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: gymnasium.make("MountainCar-v0"),
            r"observation_space: got Box.*, expected a discrete space; gymnasium.wrappers.DiscretizeObservation\(env,",
        ),
        (lambda: gymnasium.make("CartPole-v1"), "bound it by gymnasium.wrappers.TransformObservation, then"),
        (
            lambda: gymnasium.wrappers.DiscretizeObservation(gymnasium.make("Pendulum-v1"), 3),
            r"action_space: got Box.*gymnasium.wrappers.DiscretizeAction\(env, bins\)",
        ),
        (lambda: gymnasium.vector.SyncVectorEnv([Corridor]), "env: got 'SyncVectorEnv', expected one environment"),
        (lambda: object(), "env: got 'object', expected a gymnasium.Env, or a ParallelEnv or AECEnv"),
        (lambda: Drift(broken="nobody"), "env: got 'no possible_agents', expected the list of all agents"),
    ],
    ids=["box", "unbounded", "actions", "vector", "object", "nobody"],
)
def test_what_is_no_discrete_environment_is_refused_with_what_helps(make: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        as_simulator(make)


def test_the_wrappers_that_the_errors_name_do_help() -> None:
    env = gymnasium.wrappers.DiscretizeObservation(gymnasium.make("Pendulum-v1"), 3)
    game = as_simulator(lambda: gymnasium.wrappers.DiscretizeAction(copy.deepcopy(env), 5), copies=2)
    assert (game.observation_counts, game.action_counts) == ((27,), (5,))
    assert game.rollout(game.start(), 2, Stream(0)).lengths.tolist() == [200, 200]
    bounded = gymnasium.wrappers.TransformObservation(
        gymnasium.make("CartPole-v1"), lambda x: np.clip(x, -2, 2), spaces.Box(-2, 2, (4,), np.float32)
    )
    assert as_simulator(gymnasium.wrappers.DiscretizeObservation(bounded, 4)).observation_counts == (256,)


def test_a_policy_that_would_not_fit_is_refused_with_its_size() -> None:
    class Wide(Corridor):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = spaces.MultiBinary(40)

    with pytest.raises(InvalidInput, match=r"observation_space of '1': got '1.1e\+12 observations x 2 actions'"):
        as_simulator(Wide)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("reset", r"reset\(\): got 'dict', expected \(observations, infos\)"),
        ("stranger", r"env.agents: got \"'ghost_0'\", expected agents of possible_agents"),
        ("unseen", r"reset\(\): observations: got \"none for 'right_0'\""),
        ("rewards", r"step\(\): rewards: got \"none for 'right_0'\", expected one for every agent that has acted"),
        ("nan", r"rewards\['left_0'\]: got nan, expected a finite reward"),
        ("words", r"rewards\['left_0'\]: got 'much', expected a number"),
        ("outside", r"observation_space\('left_0'\): got 5, expected an element of Discrete\(5\)"),
        ("flags", r"step\(\): terminations: got \"none for 'left_0'\""),
        ("stays", r"env.agents: got \"'left_0', who is terminated or truncated\", expected those who go on"),
        ("vanishes", r"env.agents: got \"no 'right_0', who is neither terminated nor truncated\""),
        ("four", r"step\(\): got '4 things', expected \(observations, rewards, terminations, truncations, infos\)"),
        ("renamed", r"env.agents: got \"'ghost_0'\", expected agents of possible_agents"),
    ],
)
def test_a_broken_contract_is_named(broken: str, words: str) -> None:
    game = as_simulator(lambda: Drift(broken=broken))
    with pytest.raises(InvalidInput, match=words):
        game.rollout(game.start(), 20, Stream(0))


# --- agents that are away -------------------------------------------------------------------------------------------


def test_agents_that_leave_early_need_an_observation_of_their_own() -> None:
    game = as_simulator(Leaving)
    with pytest.raises(InvalidInput, match=r"absent: got \"False, and 'agent_0' is away.*expected absent=True"):
        game.rollout(game.start(), 1, Stream(0))
    game = as_simulator(Leaving, absent=True)
    assert game.observation_counts == (5, 5, 5)
    ones = tuple(torch.tensor([0.0, 1.0]).double().expand(5, 2) for _ in range(3))
    played = game.rollout(ones, 2, Stream(0))
    assert played.observations[0].tolist() == [[0, 0, 0], [4, 1, 1], [4, 4, 2]]
    assert played.rewards[0].tolist() == [[2.0, 1.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 2.0]]


def test_in_turns_one_acts_and_the_others_are_away() -> None:
    game = as_simulator(lambda: Nim(heap=4, mask=False))
    assert (game.observation_counts, game.action_counts) == ((6, 6), (3, 3))
    first = torch.zeros(6, 3).double()
    first[:, 2] = 1  # three, and the other takes the last
    played = game.rollout((first, first), 1, Stream(0))
    assert played.observations[0].tolist() == [[4, 5], [5, 1]]
    assert played.rewards[0].tolist() == [[0.0, 0.0], [-1.0, 1.0]]


def test_what_a_policy_says_where_it_is_away_changes_nothing() -> None:
    game = as_simulator(lambda: Nim(heap=7, mask=False))
    policy = game.start()
    other = tuple(torch.cat([x[:-1], torch.tensor([[0.0, 0.0, 1.0]]).double()]) for x in policy)
    one, two = game.rollout(policy, 30, Stream(0)), game.rollout(other, 30, Stream(0))
    assert torch.equal(one.rewards, two.rewards)
    assert not torch.equal(one.actions, two.actions)


# --- action masks ---------------------------------------------------------------------------------------------------


def test_illegal_actions_are_refused_redirected_or_allowed() -> None:
    with pytest.raises(
        InvalidInput, match=r'illegal: got .* drawn action \d, which action_mask forbids", expected redirect'
    ):
        as_simulator(Nim).rollout(as_simulator(Nim).start(), 20, Stream(0))
    game = as_simulator(Nim, illegal="redirect")
    played = game.rollout(game.start(), 50, Stream(0))
    assert game.redirected > 0
    assert torch.equal(played.returns.sum(-1), torch.zeros(50).double())
    greedy = torch.zeros(7, 3).double()
    greedy[:, 1] = 1
    ends = as_simulator(lambda: Nim(heap=3), illegal="redirect").rollout((greedy[:5], greedy[:5]), 1, Stream(0))
    assert ends.observations[0].tolist() == [[3, 4], [4, 1]]  # two are left out of one: one is taken
    assert ends.returns[0].tolist() == [-1.0, 1.0]
    with pytest.raises(AssertionError, match="an illegal action came through"):
        as_simulator(Nim, illegal="allow").rollout(game.start(), 20, Stream(0))


def test_the_next_legal_action_is_found_going_up_and_round() -> None:
    one = copy_of(Switches(), "redirect")
    one.actions = [coding(spaces.Discrete(5), "action_space")]
    mask = np.array([0, 1, 0, 1, 0], dtype=np.int8)
    assert [one.chosen(0, a, mask, "x") for a in range(5)] == [1, 1, 3, 3, 1]
    assert one.redirected == 3
    with pytest.raises(InvalidInput, match="action_mask of x: got 'no legal action'"):
        one.chosen(0, 0, 0 * mask, "x")
    with pytest.raises(InvalidInput, match=r"action_mask of x: got 'shape \[2\]', expected 5 numbers"):
        one.chosen(0, 0, mask[:2], "x")


def test_a_mask_may_stand_beside_what_is_observed() -> None:
    class Beside(Nim):
        def observation_space(self, agent: str) -> Any:
            mask = spaces.Box(0, 1, (3,), np.int8)
            return spaces.Dict({"observation": super().observation_space(agent), "action_mask": mask})

        def observe(self, agent: str) -> Any:
            return {"observation": np.int64(self.left), "action_mask": self.infos[agent].get("action_mask")}

    policy = as_simulator(Nim).start()
    one, two = (as_simulator(kind, illegal="redirect").rollout(policy, 20, Stream(0)) for kind in (Nim, Beside))
    assert torch.equal(one.observations, two.observations)
    assert torch.equal(one.rewards, two.rewards)


# --- by name --------------------------------------------------------------------------------------------------------


def test_modules_and_functions_by_name() -> None:
    game = PettingZooSimulator(environment="little_environments:Nim", options="heap=6", illegal="redirect")
    assert game.observation_counts == (8, 8)
    assert game.players == ("player_0", "player_1")
    for name, words in (
        ("little_environments", "neither parallel_env nor env"),
        ("little_environments:Nothing", "no 'Nothing' that can be called"),
        ("no_such_module", "there is no 'no_such_module' here"),
        ("pettingzoo.classic.nothing", "there is no 'pettingzoo.classic.nothing' here"),
        ("rm -rf", "expected a module"),
    ):
        with pytest.raises(InvalidInput, match=words):
            PettingZooSimulator(environment=name).validate()
    with pytest.raises(InvalidInput, match="options: got 'stones=6', expected what little_environments:Nim takes"):
        PettingZooSimulator(environment="little_environments:Nim", options="stones=6").validate()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    for name in ("pettingzoo.classic.rps.rps", "pettingzoo.classic.rps_v2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtra, match=r"pettingzoo.classic.rps_v2 needs pygame: pip install 'pettingzoo\[cl"):
        PettingZooSimulator(environment="pettingzoo.classic.rps_v2").validate()
