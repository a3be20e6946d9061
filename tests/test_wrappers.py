"""Our games as everybody's environments: what these libraries' own tests ask for, and what they do not look at."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import gamesim as gs
from gamesim.envs.wrappers import as_aec, as_gymnasium, as_pettingzoo, as_simulator
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame, Sparse, StochasticGame
from gamesim.games.transitions import SparseLaw
from gamesim.randomness import Stream


def walk(seed: int = 0, stop: float = 0.1, sparse: bool = False) -> StochasticGame:
    """Random, of two players with 2 and 3 actions, and three states."""
    stream = Stream(seed)
    reward, table = stream.normal((2, 3, 2, 3)), stream.uniform((3, 2, 3, 3))
    p = (1 - stop) * table / table.sum(-1, keepdim=True)
    if not sparse:
        return StochasticGame(reward, p, torch.tensor([0.2, 0.3, 0.5]))
    order = torch.tensor([2, 0, 1]).expand(p.shape)
    return StochasticGame(reward, Sparse(order, p.gather(-1, order)), torch.tensor([0.2, 0.3, 0.5]))


GAMES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "walk": (walk, {}),
    "cut": (lambda: walk(stop=0.001), {"longest": 9}),
    "sparse": (lambda: walk(sparse=True), {}),
    "one-player": (
        lambda: StochasticGame([[[1.0, 0.0], [0.0, 2.0]]], [[[0.5, 0.0], [0.0, 0.5]], [[0.4, 0.4], [0.5, 0.1]]]),
        {},
    ),
    "pennies": (lambda: gs.make("matrix/matching-pennies"), {"rounds": 3}),
    "jordan": (lambda: gs.make("matrix/jordan"), {}),
}
ALL = pytest.mark.parametrize("name", GAMES)
SEEN = pytest.mark.parametrize("observe", ["plain", "one-hot"])


# --- the libraries' own tests, with every warning an error ----------------------------------------------------------


@ALL
@SEEN
def test_parallel_environments_pass_pettingzoos_tests(name: str, observe: Any, capsys: Any) -> None:
    game, lengths = GAMES[name]
    parallel_api_test(as_pettingzoo(game(), observe=observe, **lengths), num_cycles=100)
    parallel_seed_test(lambda: as_pettingzoo(game(), observe=observe, **lengths), num_cycles=100)
    assert "Passed" in capsys.readouterr().out


@ALL
def test_environments_of_turns_pass_pettingzoos_tests(name: str, capsys: Any) -> None:
    game, lengths = GAMES[name]
    api_test(as_aec(game(), **lengths), num_cycles=100)
    seed_test(lambda: as_aec(game(), **lengths), num_cycles=100)
    assert "Passed" in capsys.readouterr().out


@ALL
@SEEN
def test_gymnasium_environments_pass_its_check(name: str, observe: Any) -> None:
    game, lengths = GAMES[name]
    for player in range(len(game().action_counts)):
        check_env(as_gymnasium(game(), player, observe=observe, **lengths), skip_render_check=True)


# --- seeds: PettingZoo's test ends after one step, this one goes on through hundreds --------------------------------


def history(env: Any, seed: int, steps: int = 400) -> list[Any]:
    """Everything that a parallel environment answers, through many episodes of which the first is seeded."""
    dice, found = np.random.default_rng(seed), [env.reset(seed=seed)]
    for _ in range(steps):
        if not env.agents:
            found.append(env.reset())
        found.append(env.step({agent: int(dice.integers(env.action_space(agent).n)) for agent in env.agents}))
    return found


@ALL
def test_a_seed_determines_hundreds_of_steps(name: str) -> None:
    game, lengths = GAMES[name]
    one, two = as_pettingzoo(game(), **lengths), as_pettingzoo(game(), **lengths)
    torch.manual_seed(0), np.random.seed(0)  # noqa: NPY002, TID251 - global generators have no say
    first = history(one, seed=3)
    torch.manual_seed(1), np.random.seed(1)  # noqa: NPY002, TID251
    assert data_equivalence(first, history(two, seed=3), exact=True)
    assert data_equivalence(first, history(two, seed=3), exact=True), "and whatever was played before"
    if name not in ("pennies", "jordan", "one-player"):
        assert not data_equivalence(first, history(two, seed=4), exact=True)


def test_a_seed_determines_what_one_player_meets() -> None:
    def played(env: Any, seed: int) -> list[Any]:
        dice, found, over = np.random.default_rng(seed), [env.reset(seed=seed)], False
        for _ in range(400):
            if over:
                found.append(env.reset())
            found.append(env.step(int(dice.integers(env.action_space.n))))
            over = found[-1][2] or found[-1][3]
        return found

    one, two = as_gymnasium(walk(), 1), as_gymnasium(walk(), 1)
    assert data_equivalence(played(one, 5), played(two, 5), exact=True)
    assert data_equivalence(played(one, 5), played(two, 5), exact=True)
    assert not data_equivalence(played(one, 5), played(two, 6), exact=True)


# --- what is played is the game -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_steps_follow_the_tables(sparse: bool) -> None:
    """Shares of next states and of ends within four standard errors of P; rewards exactly R."""
    game = walk(stop=0.25, sparse=sparse)
    assert isinstance(game.law, SparseLaw) == sparse
    env = as_pettingzoo(game)
    table = game.law.dense().reshape(3, 2, 3, 3)
    observed, _ = env.reset(seed=0)
    counts, dice = np.zeros((3, 2, 3, 4)), np.random.default_rng(1)
    for _ in range(6000):
        s, actions = int(observed["1"]), [int(dice.integers(2)), int(dice.integers(3))]
        observed, rewards, over, _, _ = env.step({"1": actions[0], "2": actions[1]})
        assert list(rewards.values()) == game.reward[:, s, actions[0], actions[1]].tolist()
        counts[s, *actions, 3 if over["1"] else int(observed["2"])] += 1
        if over["1"]:
            observed, _ = env.reset()
    n = counts.sum(-1, keepdims=True)
    p = torch.cat([table, 1 - table.sum(-1, keepdim=True)], -1).numpy()
    assert (np.abs(counts / n - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-12).all()


def test_returns_against_fixed_opponents_are_values() -> None:
    game = walk(stop=0.2)
    policy = tuple(torch.softmax(torch.sin(torch.arange(3 * a).double()).reshape(3, a), -1) for a in (2, 3))
    for player in range(2):
        others = tuple(x for i, x in enumerate(policy) if i != player)
        box = as_simulator(lambda player=player, others=others: as_gymnasium(game, player, others), copies=256)
        returns = box.rollout((policy[player],), 3000, Stream(2)).returns[:, 0]
        error = float(returns.std()) / 3000**0.5
        assert abs(float(returns.mean()) - float(game.payoffs_of(policy)[player])) < 4 * error


def test_a_normal_form_game_against_fixed_opponents() -> None:
    game = gs.make("matrix/battle-of-the-sexes")
    names = game.players
    pure = tuple(torch.eye(2).double()[[k]][0] for k in (0, 1))
    env = as_gymnasium(game, names[1], opponents=pure, rounds=2)
    env.reset(seed=0)
    assert [env.step(0)[1:4], env.step(1)[1:4]] == [(2.0, False, False), (0.0, True, False)]
    with pytest.raises(InvalidInput, match=r"step: got .*, expected reset\(\) first"):
        env.step(0)


def test_agents_act_in_turns_without_seeing_one_another() -> None:
    env = as_aec(walk(), observe="plain", agents=("row_0", "column_0"))
    env.reset(seed=0)
    before = env.observe("column_0")
    assert env.agent_selection == "row_0"
    env.step(1)
    assert (env.agent_selection, env.observe("column_0")) == ("column_0", before)
    env.step(2)
    assert env.agent_selection == "row_0"


def test_what_is_observed_can_be_written_in_zeros_and_ones() -> None:
    env = as_pettingzoo(gs.make("matrix/rock-paper-scissors"), rounds=2, observe="one-hot")
    assert env.reset()[0]["1"].tolist() == [1, 0, 0, 0, 1, 0, 0, 0]
    assert env.step({"1": 0, "2": 2})[0]["2"].tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    states = as_pettingzoo(walk(), observe="one-hot")
    seen = states.reset(seed=1)[0]["1"]
    assert (seen.sum(), seen.argmax(), seen.dtype) == (1, states.now, np.float32)
    assert data_equivalence(states.state(), seen)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: as_pettingzoo("chess"), "game: got 'str', expected one normal-form or stochastic game"),
        (lambda: as_pettingzoo(gs.make("matrix/random", games=2)), "not a batch"),
        (lambda: as_pettingzoo(walk(), rounds=3), "rounds: got 3, expected longest"),
        (lambda: as_pettingzoo(MatrixGame.zero_sum([[1.0]]), longest=3), "longest: got 3, expected rounds"),
        (lambda: as_pettingzoo(walk(), longest=0), "longest: got 0"),
        (lambda: as_pettingzoo(walk(), agents=("a_0", "a_0")), "agents: got .* expected 2 different names"),
        (lambda: as_pettingzoo(walk(), observe="picture"), "observe: got 'picture'"),
        (lambda: as_gymnasium(walk(), 2), "player: got 2, expected a number from 0 to 1, or one of"),
        (lambda: as_gymnasium(walk(), "nobody"), "player: got 'nobody'"),
        (lambda: as_gymnasium(walk(), 0, (torch.ones(3, 3),)), r"opponents\[1\]\[0\]: got .* expected rows that sum"),
        (lambda: as_gymnasium(walk(), 0, (torch.ones(3, 2) / 2,)), r"opponents\[1\]: got 'shape \(3, 2\)'"),
        (lambda: as_gymnasium(walk(), 0, (torch.ones(4, 3, 3) / 3,)), r"opponents\[1\]: got .* not a batch"),
        (lambda: as_gymnasium(walk()).step(0), r"step: got .*, expected reset\(\) first"),
    ],
    ids=range(13),
)
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        call()


def test_actions_that_are_none_are_refused() -> None:
    env = as_gymnasium(walk())
    env.reset(seed=0)
    for action in (2, -1, 0.5, None):
        with pytest.raises(InvalidInput, match=r"action: got .*, expected a whole number from 0 to 1"):
            env.step(action)
    states = as_pettingzoo(walk())
    states.reset(seed=0)
    with pytest.raises(InvalidInput, match=r"actions\['2'\]: got None, expected a whole number from 0 to 2"):
        states.step({"1": 0})
    assert isinstance(env, gymnasium.Env)
