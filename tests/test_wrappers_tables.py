"""Environments by their tables: played out, read from tables of their own, or counted."""

import copy
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from gamesim.envs.wrappers import (
    approximate_exploitability,
    as_pettingzoo,
    as_simulator,
    estimate_game,
    tabulate_environment,
)
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame, StochasticGame
from gamesim.games.adapters import stochastic_from_openspiel
from gamesim.randomness import Stream
from little_environments import Corridor, Drift, Leaving, Nim, Switches

# --- played out -----------------------------------------------------------------------------------------------------


def test_a_corridor_is_what_it_says() -> None:
    game = tabulate_environment(Corridor, discount=0.9)
    assert (game.state_count, game.action_counts, game.initial.tolist()) == (4, (2,), [1, 0, 0, 0])
    assert game.reward[0].tolist() == [[-0.1, -0.1]] * 3 + [[-0.1, 1.0]]
    best = game.best_responses(game.start())[1][0, 0]
    assert float(best) == pytest.approx(-0.1 * (1 + 0.9 + 0.81) + 0.9**3, abs=1e-12)


def test_a_game_played_out_is_the_simulator_that_is_played() -> None:
    """Returns of a policy that is the same in both, against values without a discount."""
    env = Drift(size=5)
    game = tabulate_environment(env, discount=1 - 1e-6)
    box = as_simulator(env, copies=64)
    policy = tuple(torch.softmax(torch.cos(torch.arange(10).double()).reshape(5, 2), -1) for _ in range(2))
    returns = box.rollout(policy, 2000, Stream(0)).returns
    error = returns.std(-2) / 2000**0.5
    assert bool(((returns.mean(-2) - game.payoffs_of(policy)).abs() < 4 * error).all())
    assert game.zero_sum


def test_spaces_of_several_parts_are_numbered() -> None:
    game = tabulate_environment(Switches)
    assert (game.state_count, game.action_counts) == (16, (12,))
    reached = tabulate_environment(Switches, compact=True)
    assert reached.state_count == 14  # all but those with all switches on, where play ends
    assert float(game.payoffs_of(game.start())) == pytest.approx(float(reached.payoffs_of(reached.start())), abs=1e-9)


def test_nim_is_won_by_who_knows_how() -> None:
    """Turns, masks and states that carry whose turn it is: from 5, take 1, and leave 4 ever after."""
    game = tabulate_environment(lambda: Nim(heap=5), discount=0.9, illegal="redirect")
    heaps = [int(name.split()[1]) for name in game.states]
    best = torch.zeros(game.state_count, 3).double()
    for s, heap in enumerate(heaps):
        best[s, (heap % 4 or 1) - 1] = 1
    assert float(game.exploitability((best, best))) == pytest.approx(0, abs=1e-12)
    assert game.payoffs_of((best, best)).tolist() == pytest.approx([0.9**2, -(0.9**2)])  # 1, any, the rest
    assert float(game.exploitability(game.start())) > 0.5


def test_frozen_lake_comes_from_its_own_table() -> None:
    env = gymnasium.make("FrozenLake-v1", is_slippery=True)
    game = tabulate_environment(env, discount=0.95)
    table = game.law.dense()
    for s, actions in env.unwrapped.P.items():
        for a, rows in actions.items():
            assert float(game.reward[0, s, a]) == pytest.approx(sum(p * r for p, _, r, _ in rows))
            for t in range(16):
                wanted = 0.95 * sum(p for p, to, _, over in rows if to == t and not over)
                assert float(table[s, a, t]) == pytest.approx(wanted)
    value = np.zeros(16)
    for _ in range(2000):  # value iteration, written down anew
        q = np.array(
            [
                [sum(p * (r + 0.95 * value[t] * (not over)) for p, t, r, over in rows) for rows in actions.values()]
                for actions in env.unwrapped.P.values()
            ]
        )
        value = q.max(-1)
    assert game.best_responses(game.start())[1][0].tolist() == pytest.approx(value.tolist(), abs=1e-9)


def test_wrappers_that_change_rewards_are_played_and_not_skipped() -> None:
    env = gymnasium.wrappers.TransformReward(gymnasium.make("CliffWalking-v1"), lambda r: r / 10)
    with pytest.raises(InvalidInput, match="draws random numbers"):  # its steps do, and its table is of other rewards
        tabulate_environment(env)
    halved = gymnasium.wrappers.TransformReward(Corridor(), lambda r: r / 2)
    assert torch.equal(tabulate_environment(halved).reward, tabulate_environment(Corridor).reward / 2)


def test_a_limit_of_time_is_no_end() -> None:
    limited = gymnasium.wrappers.TimeLimit(Corridor(), 3)
    assert torch.equal(tabulate_environment(limited).law.dense(), tabulate_environment(Corridor()).law.dense())
    free, cut = tabulate_environment(Drift()), tabulate_environment(Drift(limit=4))
    assert torch.equal(free.law.dense(), cut.law.dense())
    with pytest.raises(InvalidInput, match="only reached where an episode is cut off', expected a longer limit"):
        tabulate_environment(Drift(size=9, limit=2))


def test_luck_is_seen_and_refused() -> None:
    with pytest.raises(InvalidInput, match=r"draws random numbers.*expected .* estimate_game"):
        tabulate_environment(Drift(luck=1e-9))  # so rare that no play would show it
    with pytest.raises(InvalidInput, match="draws random numbers"):
        tabulate_environment(gymnasium.make("Blackjack-v1"))


def test_observations_that_are_not_the_state_are_refused() -> None:
    class Coarse(Corridor):  # cells 2 and 3 look alike
        def step(self, action: int) -> tuple:
            seen, *rest = super().step(action)
            return (min(seen, 3) if seen < 4 else 4, *rest) if seen != 3 else (2, *rest)

    with pytest.raises(InvalidInput, match=r"for the same observation \(1,\) and actions .* the whole state"):
        tabulate_environment(Coarse)
    rounds = as_pettingzoo(MatrixGame.zero_sum([[1, -1], [-1, 1]]), rounds=4)  # a clock that nobody sees
    with pytest.raises(InvalidInput, match="the end after rewards"):
        tabulate_environment(rounds)
    assert tabulate_environment(as_pettingzoo(MatrixGame.zero_sum([[1, -1], [-1, 1]]))).reward[0, 0].tolist() == [
        [1, -1],
        [-1, 1],
    ]


def test_agents_that_see_different_things_can_be_pooled() -> None:
    class Apart(Drift):
        def reset(self, **given):
            return self._apart(super().reset(**given))

        def step(self, actions):
            return self._apart(super().step(actions))

        def _apart(self, answer):
            answer[0]["right_0"] = self.size - 1 - int(self.place)
            return answer

    with pytest.raises(InvalidInput, match=r"observations: got .* at the same time', expected .*pooled=True"):
        tabulate_environment(Apart)
    pooled, plain = tabulate_environment(Apart, pooled=True), tabulate_environment(Drift, compact=True)
    assert torch.equal(pooled.reward, plain.reward)
    assert pooled.states[0] == "1 3"


@pytest.mark.parametrize("make", [Drift, lambda: Nim(heap=6)], ids=["drift", "nim"])
def test_what_cannot_be_copied_is_played_up_to_again(make: Any) -> None:
    env = make()
    env.window = threading.Lock()  # which copy.deepcopy refuses
    found, wanted = tabulate_environment(env, illegal="redirect"), tabulate_environment(make, illegal="redirect")
    assert torch.equal(found.reward, wanted.reward)
    assert torch.equal(found.law.dense(), wanted.law.dense())


def test_copies_stand_where_they_were_made() -> None:
    """EzPickle, which many environments derive from, copies by making anew."""

    class Pickled(Corridor, gymnasium.utils.EzPickle):
        def __init__(self, length: int = 4) -> None:
            gymnasium.utils.EzPickle.__init__(self, length)
            super().__init__(length)

    assert not hasattr(copy.deepcopy(Pickled()), "cell")
    assert torch.equal(tabulate_environment(Pickled).law.dense(), tabulate_environment(Corridor).law.dense())


def test_the_size_is_said_before_anything_is_played() -> None:
    class Wide(Corridor):
        def __init__(self, bits: int) -> None:
            super().__init__()
            self.observation_space = spaces.MultiBinary(bits)

        def reset(self, **given):
            raise AssertionError("played")

    for env, words in (
        (Wide(20), r"observation_space: got '1,048,576 states x 2 joint actions = 2,097,152 steps, .* numbers'"),
        (Wide(40), r"1,099,511,627,776 states x 2 joint actions"),
    ):
        with pytest.raises(InvalidInput, match=words):
            tabulate_environment(env)
    with pytest.raises(InvalidInput, match=r"states: got '20,000', expected at most 10,000"):
        tabulate_environment(Wide(4), states=20_000)
    with pytest.raises(InvalidInput, match=r"env: got 'more than 3 states', expected at most that many; states="):
        tabulate_environment(Corridor(9), states=3, compact=True)


def test_what_else_is_refused() -> None:
    with pytest.raises(InvalidInput, match="absent"):
        tabulate_environment(Leaving)
    for discount in (0, 1.5, "x"):
        with pytest.raises(InvalidInput, match="discount: got"):
            tabulate_environment(Corridor, discount=discount)
    with pytest.raises(InvalidInput, match=r"stopping\[.*expected .*a discount below 1"):
        tabulate_environment(Corridor, discount=1)


# --- counted --------------------------------------------------------------------------------------------------------


def ring() -> StochasticGame:
    stream = Stream(4)
    table = stream.uniform((3, 2, 2, 3))
    return StochasticGame(stream.normal((2, 3, 2, 2)), 0.7 * table / table.sum(-1, keepdim=True))


def test_counts_come_to_the_tables() -> None:
    """Within 4.5 standard errors at every one of 36 probabilities; rewards exactly; the law of the start."""
    game = ring()
    found = estimate_game(as_simulator(lambda: as_pettingzoo(game), copies=256), 3000, discount=1.0)
    p, n = game.law.dense(), found.visits.reshape(3, 4, 1)
    assert bool(((found.game.law.dense() - p).abs() < 4.5 * (p * (1 - p) / n).sqrt()).all())
    assert torch.allclose(found.game.reward, game.reward, atol=1e-12)
    assert (int(found.begun.sum()), found.unvisited) == (3000, 0)
    assert found.steps == int(found.visits.sum())
    assert found.game.title == f"estimated from {found.steps:,} steps"


def test_a_cut_is_counted_as_a_step_and_an_end_as_stopping() -> None:
    game = estimate_game(as_simulator(lambda: gymnasium.wrappers.TimeLimit(Corridor(), 3)), 200, discount=0.9).game
    assert float(game.law.totals[1, 0]) == pytest.approx(0.9)
    assert game.law.totals[3].tolist() == [0, 0]  # never visited within three steps: it stops
    free = estimate_game(as_simulator(Corridor), 200, discount=0.9).game
    assert torch.allclose(free.law.dense(), tabulate_environment(Corridor, discount=0.9).law.dense())


def test_what_was_never_tried_is_assumed_as_said() -> None:
    right = (torch.tensor([0.0, 1.0]).double().expand(4, 2),)
    box = as_simulator(Corridor)
    found = estimate_game(box, 50, policy=right, discount=0.5)
    assert found.unvisited == 4
    assert found.visits.tolist() == [[0, 50]] * 4
    assert (found.game.law.totals[0, 0].item(), found.game.reward[0, 0, 0].item()) == (0.0, 0.0)
    anywhere = estimate_game(box, 50, policy=right, discount=0.5, unvisited="uniform").game
    assert anywhere.law.dense()[2, 0].tolist() == [0.125] * 4


def test_approximate_exploitability_says_that_it_is_an_estimate() -> None:
    game = ring()
    box = as_simulator(lambda: as_pettingzoo(game), copies=256)
    found = approximate_exploitability(box, game.start(), 3000, discount=1.0)
    assert found.value == pytest.approx(float(game.exploitability(game.start())), rel=0.1)
    assert sum(found.gains) == pytest.approx(found.value)
    assert str(found).startswith("approximate exploitability ")
    assert f"estimated from {found.steps:,} steps" in str(found)
    assert str(found).endswith("an estimate, no bound")
    again = approximate_exploitability(box, game.start(), 3000, discount=1.0)
    assert again == found
    assert 0 < found.fewest_visits < found.steps


def test_who_sees_parts_of_the_state_alone_cannot_be_counted() -> None:
    with pytest.raises(InvalidInput, match="expected that all players observe the same full state"):
        estimate_game(as_simulator(lambda: Nim(mask=False)), 10)
    with pytest.raises(InvalidInput, match="simulator: got 'StochasticGame', expected a Simulator"):
        estimate_game(ring(), 10)
    for wrong in ({"episodes": 0}, {"discount": 2}, {"unvisited": "hope"}, {"seed": -1}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            estimate_game(as_simulator(Corridor), **({"episodes": 1} | wrong))


# --- OpenSpiel ------------------------------------------------------------------------------------------------------


def test_openspiels_games_as_stochastic_games() -> None:
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed (pip install open_spiel)")
    game = stochastic_from_openspiel("repeated_game(stage_game=matrix_pd(),num_repetitions=3)", discount=0.999999)
    assert (game.state_count, game.action_counts) == (21, (2, 2))
    assert game.payoffs_of(game.start()).tolist() == pytest.approx([12, 12], abs=1e-4)  # 4 a round
    assert stochastic_from_openspiel("tic_tac_toe").state_count == 4520
    soccer = stochastic_from_openspiel("markov_soccer")
    assert soccer.zero_sum
    assert float(soccer.law.totals.max()) == pytest.approx(0.99)
    with pytest.raises(InvalidInput, match="of imperfect information"):
        stochastic_from_openspiel("kuhn_poker")
    assert pyspiel
