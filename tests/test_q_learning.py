"""Q-learning, alone and with others, and Nash-Q, each held to what it must reach, computed by other means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.independent_q_learning import IndependentQLearning
from gamesim.algorithms.nash_q import NashQ
from gamesim.envs.stochastic.families import RandomStochastic, ZeroSumStochastic
from gamesim.errors import InvalidInput
from gamesim.feedback.temporal import following, shares, visited
from gamesim.games import Episodes, EpisodicGame, Policy, StochasticGame
from gamesim.games.simulator import Moment, Simulator
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.schedules import Constant, Geometric, Power
from gamesim.simplex import softmax
from gamesim.testing import check_solver

MDP = RandomStochastic(player_count=1, state_count=4, action_count=2, discount=0.7, seed=3)
ZERO_SUM = ZeroSumStochastic(state_count=3, action_count=2, discount=0.7, seed=2)
SOLVERS: dict[str, tuple[Any, Any]] = {
    "one player": (MDP, IndependentQLearning()),
    "two players": (ZERO_SUM, IndependentQLearning(Power(0.5, 0.6), "iterations", temperature=Power(1.0, 0.5))),
    "nash-q": (ZERO_SUM, NashQ()),
}


@dataclass(frozen=True, eq=False)
class Seen(EpisodicGame):
    """A black box around a game of two players, of whom the second sees nothing: only episodes come out."""

    inside: StochasticGame

    @property
    def action_counts(self) -> tuple[int, ...]:
        return self.inside.action_counts

    @property
    def observation_counts(self) -> tuple[int, ...]:
        return (self.inside.state_count, 1)

    def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Episodes:
        x, y = policy
        found = self.inside.rollout((x, y.expand(*y.shape[:-2], x.shape[-2], -1)), episodes, generator)
        hidden = torch.stack([found.observations[..., 0], torch.zeros_like(found.observations[..., 1])], -1)
        return Episodes(hidden, found.actions, found.rewards, found.alive)

    def metrics(self, policy: Policy, temperature: Any = 0.0) -> dict[str, Tensor]:
        x, y = policy
        return {"return": self.inside.payoffs_of((x, y.expand(*y.shape[:-2], x.shape[-2], -1))).mean(-1)}


def stay(paid: tuple[float, float]) -> StochasticGame:
    """One state, two actions for each of two players; either's first action ends the episode half as often."""
    own = torch.tensor(paid, dtype=torch.float64)
    reward = torch.stack([own[:, None].expand(2, 2), own.expand(2, 2)])[:, None]
    return StochasticGame(reward, torch.full((1, 2, 2, 1), 0.5).double())


# --- the update ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.8, 1.0])
def test_visits_count_one_after_the_other(exponent: float) -> None:
    """Against the same by a loop, with pairs that are visited some forty times, and steps that were not played."""
    stream, (b, m, time, p) = Stream(5), (3, 7, 23, 5)
    alive = torch.arange(time) < (stream.uniform((b, m, 1)) * time).ceil()
    place = (stream.uniform((b, m, time)) * p).long()
    target, table = stream.normal((b, m, time)), stream.normal((b, p))
    counts = (stream.uniform((b, p)) * 3).long()

    def alpha(before: Tensor) -> Tensor:
        return (1 + before) ** -exponent if exponent else torch.full_like(before, 0.3)

    found, counted = visited(table, counts, place, target, alive, alpha)
    wanted, seen = table.clone(), counts.clone()
    for i, j, k in np.ndindex(b, m, time):
        if alive[i, j, k]:
            here = place[i, j, k]
            share = float(alpha(seen[i, here].double()))
            wanted[i, here] += share * (target[i, j, k] - wanted[i, here])
            seen[i, here] += 1
    assert torch.equal(counted, seen)
    assert int(seen.amax()) > 20
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-13)


def test_an_update_in_a_batch_has_the_bits_of_one_alone() -> None:
    """200 at once against each alone, not padded to the longest, at a power that torch rounds in two ways."""
    stream, (b, m, time, p) = Stream(6), (200, 3, 17, 4)
    lengths = (stream.uniform((b,)) * time).long() + 1
    alive = (torch.arange(time) < lengths[:, None, None]).expand(b, m, time)
    place = (stream.uniform((b, m, time)) * p).long()
    target, table = stream.normal((b, m, time)), stream.normal((b, p))
    counts = (stream.uniform((b, p)) * 1000).long()
    alpha = shares(Power(1.0, 0.8), "visits", 0)
    found, _ = visited(table, counts, place, target, alive, alpha)
    for i, length in enumerate(lengths.tolist()):
        cut = (x[i, :, :length] for x in (place, target, alive))
        assert torch.equal(found[i], visited(table[i], counts[i], *cut, alpha)[0])


def test_what_follows_is_the_next_step_and_nothing_after_the_end() -> None:
    values, observed = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[0, 1, 2], [2, 1, 0]])
    alive = torch.tensor([[True, True, True], [True, True, False]])
    assert following(values, observed, alive).tolist() == [[2.0, 3.0, 0.0], [2.0, 0.0, 0.0]]
    cut, end = torch.tensor([False, True]), torch.tensor([1, 2])
    assert following(values, observed, alive, cut, end).tolist() == [[2.0, 3.0, 0.0], [2.0, 3.0, 0.0]]


def test_the_number_of_visits_does_not_bend_the_values() -> None:
    """One state, 1 for a step, stay with 2/3: Q = 3; steps towards the mean of an episode's visits end at 2 / ln 3."""
    game = StochasticGame([[[1.0]]], [[[2 / 3]]])
    solver = IndependentQLearning(episodes=1, initial_value=2.0)
    (q,) = solve(game, solver, iterations=250, every=250, seeds=40).state.q
    assert abs(float(q.mean()) - 3) < 0.25  # O(alpha): at the end of an episode its last reward has just counted


# --- independent Q-learning ------------------------------------------------------------------------------------------


def optimal(game: StochasticGame | RandomStochastic, discount: float) -> Tensor:
    """Q*(s, a) of the only player, by value iteration on plain arrays."""
    reward, law = game.reward[0].numpy(), game.transition.numpy()  # type: ignore[union-attr]
    q = np.zeros_like(reward)
    for _ in range(2000):
        q = reward + discount * law @ q.max(-1)
    return torch.from_numpy(q)


@pytest.mark.parametrize("folded", [True, False])
def test_one_player_reaches_the_optimal_values(folded: bool) -> None:
    """With the game's own discount, by stopping, and with the solver's, where episodes stop for another reason.

    Values are maxima of noisy numbers, so they are a little high: the mean over 20 seeds is within 0.03 and four
    standard errors of Q*, whose range is 2, and every seed is within 0.25.
    """
    if folded:
        game: Any = MDP
        solver, best = IndependentQLearning(exploration=0.3, episodes=40), optimal(MDP, MDP.discount)  # type: ignore[arg-type]
    else:
        game = StochasticGame(MDP.reward, 0.8 * MDP.transition)  # type: ignore[operator]
        solver = IndependentQLearning(exploration=0.3, episodes=40, discount=0.7 / 0.8)  # type: ignore[arg-type]
        best = optimal(MDP, 0.7)
    result = solve(game, solver, iterations=100, every=100, seeds=20)
    (q,) = result.state.q
    error, spread = q.mean(0) - best, q.std(0) / 20**0.5
    assert bool((error.abs() < 0.03 + 4 * spread).all()), error
    assert float((q - best).abs().amax()) < 0.25
    assert torch.equal(result.policy[0].argmax(-1), best.argmax(-1).expand(20, -1))


def test_dominant_actions_are_found_by_everyone() -> None:
    game = gs.make("stochastic/two-state")
    result = solve(game, IndependentQLearning(), iterations=60, every=60, seeds=32)
    assert float(result.exploitability[:, -1].max()) == 0.0


def test_a_temperature_makes_the_policy_a_softmax_of_the_values() -> None:
    state = solve(ZERO_SUM, IndependentQLearning(temperature=Power(0.5, 0.5)), iterations=5).state
    for q, policy in zip(state.q, state.policy, strict=True):
        torch.testing.assert_close(policy, softmax(q / (0.5 / 5**0.5)), rtol=1e-12, atol=0)


def test_ties_are_shared_and_unvisited_pairs_keep_what_they_began_with() -> None:
    solver = IndependentQLearning(episodes=1, initial_value=50.0, exploration=Constant(0.0))
    state = solve(MDP, solver, iterations=1).state
    (q,), (visits,), (policy,) = state.q, state.visits, state.policy
    assert bool((q[visits == 0] == 50).all())
    assert bool((q[visits > 0] != 50).all())
    assert bool(((policy == 0.5) == (visits == 0).all(-1, keepdim=True)).all())


def test_a_black_box_is_learned_from_its_episodes_alone() -> None:
    """The first of two players sees the state, the second nothing; the second action pays more, to each alone."""
    box = Seen(stay((0.2, 1.0)))
    result = solve(box, IndependentQLearning(), iterations=20, every=20)
    assert [tuple(x.shape) for x in result.policy] == [(1, 2), (1, 2)]
    assert [x.argmax(-1).tolist() for x in result.policy] == [[1], [1]]
    assert float(result.metric("return")[0, -1]) == pytest.approx(2.0)
    check_solver(IndependentQLearning(), box)


class Endless(Simulator):
    """Pays 1 for a step, and never ends."""

    action_counts, observation_counts, longest = (1,), (1,), 4

    def reset(self, seeds: Sequence[int]) -> Tensor:
        return torch.zeros(len(seeds), 1, dtype=torch.long)

    def step(self, actions: Tensor) -> Moment:
        never = torch.zeros(len(actions), dtype=torch.bool)
        return Moment(torch.zeros_like(actions), torch.ones(len(actions), 1), never, never)


def test_an_episode_that_is_cut_off_is_not_one_that_ended() -> None:
    """At a discount of 1/2 going on is worth 2; with an end after four steps it would be worth 1.6 in the mean."""
    solver = IndependentQLearning(0.5, "iterations", discount=0.5)  # type: ignore[arg-type]
    (q,) = solve(Endless(), solver, iterations=60, every=60).state.q
    assert float(q) == pytest.approx(2.0, abs=1e-9)


# --- Nash-Q ----------------------------------------------------------------------------------------------------------


def shapley(game: ZeroSumStochastic) -> np.ndarray[Any, Any]:
    """The value of each state by Shapley iteration, matrix games by scipy's LP."""
    reward, law = game.reward[0].numpy(), game.transition.numpy()  # type: ignore[union-attr]
    v = np.zeros(len(reward))
    for _ in range(80):
        v = np.array([_value(r) for r in reward + game.discount * law @ v])
    return v


def _value(A: Any) -> float:
    m, n = A.shape
    found = linprog(
        [0] * m + [-1], np.c_[-A.T, np.ones(n)], np.zeros(n), [[1] * m + [0]], [1], [(0, None)] * m + [(None, None)]
    )
    return float(-found.fun)


def test_nash_q_reaches_the_value_of_the_game() -> None:
    """The mean over 20 seeds is within 0.01 and four standard errors of Shapley's value in every state, and what
    best responses gain on its policies falls to a tenth."""
    result = solve(ZERO_SUM, NashQ(exploration=0.3, episodes=40), iterations=100, every=100, seeds=20)  # type: ignore[arg-type]
    values, best = result.state.values, torch.from_numpy(shapley(ZERO_SUM))
    error, spread = values.mean(0) - best, values.std(0) / 20**0.5
    assert bool((error.abs() < 0.01 + 4 * spread).all()), error
    assert float((values - best).abs().amax()) < 0.1
    gaps = result.exploitability
    assert float(gaps[:, -1].mean()) < 0.1 * float(gaps[:, 0].mean())


def test_nash_q_plays_the_equilibria_of_its_stage_games() -> None:
    state = solve(ZERO_SUM, NashQ(), iterations=8, seeds=3).state
    x, y = state.policy
    best = (state.q * y[..., None, :]).sum(-1).amax(-1), (state.q * x[..., None]).sum(-2).amin(-1)
    for bound in best:
        torch.testing.assert_close(bound, state.values, rtol=0, atol=1e-9)
    assert bool((state.visits.sum((-1, -2, -3)) >= 8 * 10).all())


# --- what every solver here promises ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVERS)
def test_conformance(name: str) -> None:
    game, solver = SOLVERS[name]
    check_solver(solver, game)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_seed_learns_in_a_batch_what_it_learns_alone(name: str) -> None:
    game, solver = SOLVERS[name]
    together = solve(game, solver, iterations=6, seeds=5, seed=11)
    for k in range(5):
        alone = solve(game, solver, iterations=6, seed=11 + k)
        for x, y in zip(together.policy, alone.policy, strict=True):
            assert torch.equal(x[k], y)
        pairs = zip(together.state.q, alone.state.q, strict=True)
        if isinstance(solver, NashQ):
            pairs = zip([together.state.q], [alone.state.q], strict=True)
        assert all(torch.equal(x[k], y) for x, y in pairs)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_batch_of_parameters_is_each_of_them(name: str) -> None:
    game, solver = SOLVERS[name]
    shares, rest = torch.tensor([0.2, 0.6]).double(), torch.tensor([0.5, 0.9]).double()
    batch = replace(solver, step_size=Constant(shares), clock="visits", exploration=Constant(shares), discount=rest)
    together = solve(game, batch, iterations=4, seeds=3)
    for k in range(2):
        numbers = {"step_size": float(shares[k]), "exploration": float(shares[k]), "discount": float(rest[k])}
        alone = solve(game, replace(batch, **numbers), iterations=4, seeds=3)
        for x, y in zip(together.policy, alone.policy, strict=True):
            torch.testing.assert_close(x[:, k], y, rtol=1e-12, atol=1e-12)


# --- refusals and advice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        (IndependentQLearning, {"step_size": 2.0}, "step_size: got constant(2), expected a number or schedule above 0"),
        (NashQ, {"step_size": Geometric(1.0, 0.5, 0.1)}, "power(...) or a number with clock=visits"),
        (IndependentQLearning, {"exploration": 1.5}, "from 0 to 1"),
        (IndependentQLearning, {"temperature": -1.0}, "at least 0"),
        (IndependentQLearning, {"temperature": Constant(torch.tensor([0.0, 1.0]))}, "numbers above 0 in a batch"),
        (NashQ, {"clock": "steps"}, "clock: got 'steps'"),
        (NashQ, {"episodes": 0}, "episodes: got 0"),
        (IndependentQLearning, {"initial_value": float("nan")}, "initial_value: got"),
        (NashQ, {"discount": 1.1}, "discount: got 1.1"),
    ],
)
def test_parameters_without_meaning_are_refused(kind: Any, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        kind(**parameters)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("game", "solver"),
    [
        ("stochastic/team", NashQ()),
        ("stochastic/random", NashQ()),
        ("matrix/matching-pennies", NashQ()),
        ("matrix/matching-pennies", IndependentQLearning()),
    ],
)
def test_other_games_are_refused_before_any_work(game: str, solver: Any) -> None:
    with pytest.raises(InvalidInput, match=f"game: got .*, which {type(solver).__name__} needs; for this game take"):
        solve(gs.make(game), solver)


def test_step_sizes_that_no_theorem_covers_are_named() -> None:
    assert IndependentQLearning().cautions(MDP) == NashQ().cautions(ZERO_SUM) == []
    for step_size, words in ((Constant(0.1), "not square-summable"), (Power(1.0, 1.2), "sums to a finite number")):
        assert words in IndependentQLearning(step_size).cautions(MDP)[0]
        assert words in NashQ(step_size).cautions(ZERO_SUM)[0]
