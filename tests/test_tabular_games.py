"""Stochastic games by their tables: values, visits, gradients, best responses and episodes, against other ways."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.errors import InvalidInput
from gamesim.games import MatrixGame, Policy, Sparse, StochasticGame, TabularGame
from gamesim.games.transitions import SparseLaw, as_law
from gamesim.randomness import Stream
from gamesim.testing import check_batch, check_game

SHAPES = [(3, (2,)), (1, (2, 3)), (4, (2, 3)), (3, (2, 2, 3))]


def drawn(states: int, counts: tuple[int, ...], seed: int = 0, batch: tuple[int, ...] = ()) -> StochasticGame:
    """A game without any structure, in which play stops with a probability from 0.1 to 0.5."""
    numbers = np.random.default_rng(seed)
    reward = numbers.standard_normal((*batch, len(counts), states, *counts))
    going = numbers.dirichlet(np.ones(states), (*batch, states, *counts))
    stopping = numbers.uniform(0.1, 0.5, (*batch, states, *counts, 1))
    initial = numbers.dirichlet(np.ones(states), batch or None)
    return StochasticGame(reward, going * (1 - stopping), initial, player_count=len(counts))


def policy_of(game: StochasticGame, seed: int = 1, batch: tuple[int, ...] = ()) -> Policy:
    numbers = np.random.default_rng(seed)
    return tuple(
        torch.from_numpy(numbers.dirichlet(np.ones(a), (*batch, game.state_count))) for a in game.action_counts
    )


def plain_values(game: StochasticGame, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """V[player, s] and d[s] by loops over states and joint actions."""
    states, counts = game.state_count, game.action_counts
    reward, law = game.reward.numpy(), game.law.dense().numpy()
    chain, paid = np.zeros((states, states)), np.zeros((len(counts), states))
    for s in range(states):
        for j, joint in enumerate(itertools.product(*map(range, counts))):
            p = math.prod(float(x[s, a]) for x, a in zip(policy, joint, strict=True))
            chain[s] += p * law[s, j]
            paid[:, s] += p * reward[(slice(None), s, *joint)]
    inverse = np.linalg.inv(np.eye(states) - chain)
    return paid @ inverse.T, game.initial.numpy() @ inverse


@pytest.mark.parametrize(("states", "counts"), SHAPES)
def test_values_and_visits_are_those_of_loops(states: int, counts: tuple[int, ...]) -> None:
    game = drawn(states, counts)
    policy = policy_of(game)
    values, visits = plain_values(game, policy)
    np.testing.assert_allclose(game.state_values(policy).numpy(), values, atol=1e-12)
    np.testing.assert_allclose(game.occupancy(policy).numpy(), visits, atol=1e-12)
    np.testing.assert_allclose(game.payoffs_of(policy).numpy(), values @ game.initial.numpy(), atol=1e-12)


@pytest.mark.parametrize(("states", "counts"), SHAPES)
def test_gradients_are_finite_differences(states: int, counts: tuple[int, ...]) -> None:
    """Every coordinate of every player: (u(pi + h e) - u(pi - h e)) / 2h agrees to 1e-6."""
    game, h = drawn(states, counts), 1e-6
    policy = policy_of(game)
    for i, v in enumerate(game.gradients(policy)):
        for s, a in itertools.product(range(states), range(counts[i])):
            moved = []
            for step in (h, -h):
                x = policy[i].clone()
                x[s, a] += step
                moved.append(float(game.payoffs_of((*policy[:i], x, *policy[i + 1 :]))[i]))
            assert (moved[0] - moved[1]) / (2 * h) == pytest.approx(float(v[s, a]), abs=1e-6)


@pytest.mark.parametrize(("states", "counts"), SHAPES)
def test_best_responses_are_those_of_trying_every_pure_one(states: int, counts: tuple[int, ...]) -> None:
    game = drawn(states, counts)
    policy = policy_of(game)
    best, values = game.best_responses(policy)
    own = game.state_values(policy)
    for i, count in enumerate(counts):
        tried = []
        for choice in itertools.product(range(count), repeat=states):
            x = torch.nn.functional.one_hot(torch.tensor(choice), count).double()
            tried.append(game.state_values((*policy[:i], x, *policy[i + 1 :]))[i])
        most = torch.stack(tried).amax(0)  # one policy is best in every state
        torch.testing.assert_close(values[i], most, atol=1e-12, rtol=0)
        torch.testing.assert_close(game.gains(policy)[i], most - own[i], atol=1e-12, rtol=0)
        replaced = game.state_values((*policy[:i], best[i], *policy[i + 1 :]))[i]
        torch.testing.assert_close(replaced, most, atol=1e-12, rtol=0)
    expected = ((values - own) * game.initial).sum(-1)
    torch.testing.assert_close(game.regrets(policy), expected, atol=1e-12, rtol=0)
    assert float(game.exploitability(policy)) == pytest.approx(float(expected.sum()), abs=1e-12)


def test_performance_differences_are_advantages_weighed_by_visits() -> None:
    """u_i(pi'_i, pi_-i) - u_i(pi) = sum_s d'(s) <Q_i(s), pi'_i - pi_i>, the identity that gradients dominate by."""
    game = drawn(4, (2, 3))
    policy, other = policy_of(game), policy_of(game, seed=5)
    for i in range(2):
        moved = (*policy[:i], other[i], *policy[i + 1 :])
        gained = game.payoffs_of(moved)[i] - game.payoffs_of(policy)[i]
        advantage = (game.values(policy)[i] * (other[i] - policy[i])).sum(-1)
        assert float((game.occupancy(moved) * advantage).sum()) == pytest.approx(float(gained), abs=1e-12)


@pytest.mark.parametrize(("states", "counts"), SHAPES)
def test_gradients_dominate_what_deviations_gain(states: int, counts: tuple[int, ...]) -> None:
    """regret_i <= max_s d'(s) / d(s) * max_q <v_i, q - pi_i>."""
    game = drawn(states, counts)
    policy = policy_of(game)
    best, _ = game.best_responses(policy)
    visits, gaps, regrets = game.occupancy(policy), game.stationarity(policy), game.regrets(policy)
    for i, v in enumerate(game.gradients(policy)):
        assert float(gaps[i]) == pytest.approx(float((v.amax(-1) - (v * policy[i]).sum(-1)).sum()), abs=1e-12)
        constant = (game.occupancy((*policy[:i], best[i], *policy[i + 1 :])) / visits).max()
        assert 0 < float(regrets[i]) <= float(constant * gaps[i]) + 1e-12


def test_a_stationary_policy_that_never_reaches_a_state_need_not_be_an_equilibrium() -> None:
    """One player stays where staying is safe; beyond it there is a prize that only the wrong action hides."""
    reward = torch.tensor([[[0.0, 0.0], [0.0, 10.0]]], dtype=torch.float64)
    transition = torch.zeros(2, 2, 2, dtype=torch.float64)
    transition[0, 1, 1] = 0.5
    game = StochasticGame(reward, transition, [1.0, 0.0])
    stay = (torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64),)
    assert float(game.stationarity(stay)) == 0
    assert float(game.exploitability(stay)) == 5.0


def test_gains_keep_their_digits_near_an_equilibrium() -> None:
    """A deviation of 1e-12 at a strict equilibrium costs its share of the margin, not rounding."""
    reward = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    reward[0, 0, 0], reward[1, 0, :, 0] = 1000.0, 1000.0
    game = StochasticGame(reward, torch.full((1, 2, 2, 1), 0.5))
    x = torch.tensor([[1 - 1e-12, 1e-12]], dtype=torch.float64)
    expected = 2 * 1000.0 * 1e-12 * 2  # per player 1000 x 1e-12 in each of the two steps that are expected
    assert float(game.exploitability((x, x))) == pytest.approx(expected, rel=1e-4)


def test_a_stochastic_game_that_stops_at_once_is_its_stage_game() -> None:
    payoffs = np.random.default_rng(3).standard_normal((2, 3, 2))
    matrix, game = MatrixGame(payoffs), StochasticGame(payoffs[:, None], np.zeros((1, 3, 2, 1)))
    policy = policy_of(game)
    rows = tuple(x[0] for x in policy)
    for q, v, u in zip(game.values(policy), game.gradients(policy), matrix.values(rows), strict=True):
        torch.testing.assert_close(q[0], u)
        torch.testing.assert_close(v[0], u)
    torch.testing.assert_close(game.exploitability(policy), matrix.exploitability(rows))


def test_discount_is_a_stopping_probability() -> None:
    going = np.random.default_rng(0).dirichlet(np.ones(3), (3, 2, 2))
    reward = np.random.default_rng(1).standard_normal((2, 3, 2, 2))
    discounted, stopped = StochasticGame(reward, going, discount=0.8), StochasticGame(reward, 0.8 * going)
    policy = policy_of(discounted)
    torch.testing.assert_close(discounted.state_values(policy), stopped.state_values(policy))
    torch.testing.assert_close(discounted.gradients(policy), stopped.gradients(policy))
    assert torch.equal(
        discounted.rollout(policy, 50, Stream(0)).actions, stopped.rollout(policy, 50, Stream(0)).actions
    )


def sparse_twin(game: StochasticGame) -> StochasticGame:
    """The same game with its successors listed, in another order and one of them twice."""
    table = game.transition
    assert isinstance(table, Tensor)
    states = table.shape[-1]
    order = torch.tensor([states - 1, *range(states)])
    p = table[..., order].clone()
    p[..., 0] /= 2
    p[..., -1] /= 2
    return StochasticGame(game.reward, Sparse(order.expand(p.shape), p), game.initial, player_count=game.player_count)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_sparse_transitions_are_dense_ones(batch: tuple[int, ...]) -> None:
    game = drawn(4, (2, 3), batch=batch)
    sparse = sparse_twin(game)
    assert isinstance(sparse.law, SparseLaw)
    policy = policy_of(game, batch=(5, *batch))
    for name in ("state_values", "occupancy", "gains", "chain", "exploitability"):
        torch.testing.assert_close(getattr(sparse, name)(policy), getattr(game, name)(policy), atol=1e-12, rtol=0)
    torch.testing.assert_close(sparse.law.dense(), game.law.dense())
    torch.testing.assert_close(sparse.stopping, game.stopping)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_of_games_and_policies_is_each_of_them(sparse: bool) -> None:
    games = drawn(3, (2, 3), batch=(4,))
    if sparse:
        games = sparse_twin(games)
    policy = policy_of(games, batch=(5, 4))
    gains, gradients = games.gains(policy), games.gradients(policy)
    soft = games.exploitability(policy, 0.3)
    assert gains.shape == (5, 4, 2, 3)
    transition = games.transition
    for b, g in itertools.product(range(5), range(4)):
        law = (
            Sparse(transition.successors[g], transition.probabilities[g])
            if isinstance(transition, Sparse)
            else transition[g]
        )
        one = StochasticGame(games.reward[g], law, games.initial[g], player_count=2)
        alone = tuple(x[b, g] for x in policy)
        assert torch.equal(one.gains(alone), gains[b, g])
        assert float(one.exploitability(alone, 0.3)) == pytest.approx(float(soft[b, g]), abs=1e-12)
        for v, w in zip(one.gradients(alone), gradients, strict=True):
            assert torch.equal(v, w[b, g])
    check_game(games)
    check_batch(games)


def test_regularised_best_responses_are_those_of_soft_value_iteration() -> None:
    game, lam = drawn(4, (2, 3)), 0.4
    policy = policy_of(game)
    _, values = game.best_responses(policy, lam)
    for i in range(2):
        value = torch.zeros(2, 4, dtype=torch.float64)
        for _ in range(400):
            value[i] = lam * torch.logsumexp(game.answers_to(policy, value)[i] / lam, -1)
        torch.testing.assert_close(values[i], value[i], atol=1e-10, rtol=0)
    entropic = game.state_values(policy, lam) - game.state_values(policy)
    assert bool((entropic > 0).all())


def test_temperatures_of_a_batch() -> None:
    game = drawn(3, (2, 2))
    policy, lam = policy_of(game, batch=(2,)), torch.tensor([0.1, 1.0], dtype=torch.float64)
    both = game.exploitability(policy, lam.reshape(2, 1, 1))
    for b in range(2):
        one = game.exploitability(tuple(x[b] for x in policy), float(lam[b]))
        assert float(both[b]) == pytest.approx(float(one), abs=1e-12)


# --- episodes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("states", "counts"), SHAPES)
@pytest.mark.parametrize("sparse", [False, True])
def test_episodes_pay_visit_and_last_as_computed(states: int, counts: tuple[int, ...], sparse: bool) -> None:
    """Means over 20,000 episodes within 4.5 standard errors of the exact ones."""
    game = sparse_twin(drawn(states, counts)) if sparse else drawn(states, counts)
    policy, m = policy_of(game), 20_000
    played = game.rollout(policy, m, Stream(11))
    visits = torch.stack(
        [((played.observations[..., 0] == s) & played.alive).sum(-1) for s in range(states)], -1
    ).double()
    for found, exact in (
        (played.returns, game.payoffs_of(policy)),
        (visits, game.occupancy(policy)),
        (played.lengths.double()[:, None], game.occupancy(policy).sum()[None]),
    ):
        error = found.std(-2) / math.sqrt(m)
        assert bool(((found.mean(-2) - exact).abs() <= 4.5 * error + 1e-12).all())


def test_what_was_not_played_is_nothing() -> None:
    game = drawn(4, (2, 3))
    played = game.rollout(policy_of(game), 100, Stream(0))
    over = ~played.alive
    assert bool(over.any())
    assert float(played.rewards[over].abs().sum()) == 0
    assert int(played.actions[over].sum() + played.observations[over].sum()) == 0
    assert bool((played.alive[:, 1:] <= played.alive[:, :-1]).all())
    assert bool(played.alive[:, 0].all())
    torch.testing.assert_close(played.to_go[:, 0], played.returns)


def test_a_seed_plays_the_same_alone_and_among_others() -> None:
    game = drawn(4, (2, 3))
    policy = policy_of(game, batch=(3,))
    together = game.rollout(policy, 7, Stream([4, 9, 2], iteration=5))
    for b, seed in enumerate((4, 9, 2)):
        alone = game.rollout(tuple(x[b] for x in policy), 7, Stream(seed, iteration=5))
        steps = alone.alive.shape[-1]
        assert torch.equal(together.actions[b, :, :steps], alone.actions)
        assert torch.equal(together.rewards[b, :, :steps], alone.rewards)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_of_games_is_played_with_a_batch_of_seeds(sparse: bool) -> None:
    games = drawn(3, (2, 2), batch=(4,))
    games = sparse_twin(games) if sparse else games
    policy = policy_of(games, batch=(2, 4))
    played = games.rollout(policy, 5, Stream([3, 8]))
    for b, g in itertools.product(range(2), range(4)):
        transition = games.transition
        law = (
            Sparse(transition.successors[g], transition.probabilities[g])
            if isinstance(transition, Sparse)
            else transition[g]
        )
        one = StochasticGame(games.reward[g], law, games.initial[g], player_count=2)
        alone = one.rollout(tuple(x[b, g] for x in policy), 5, Stream((3, 8)[b]))
        steps = alone.alive.shape[-1]
        assert torch.equal(played.actions[b, g, :, :steps], alone.actions)
        assert torch.equal(played.rewards[b, g, :, :steps], alone.rewards)


# --- refusals -------------------------------------------------------------------------------------------------------

FINE = {"reward": np.zeros((2, 2, 2, 2)), "transition": np.full((2, 2, 2, 2), 0.25)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"transition": np.full((2, 2, 2, 2), 0.7)},
            "transition[0, 0, 0]: got 'a row that sums to 1.4', expected rows",
        ),
        (
            {"transition": np.full((2, 2, 2, 2), 0.5)},
            "stopping[0, 0, 0]: got '0', expected a positive probability that",
        ),
        ({"transition": np.full((2, 2, 2, 2), -0.1)}, "transition[0, 0, 0, 0]: got -0.1, expected a probability of at"),
        (
            {"transition": np.full((2, 2, 2, 2), np.nan)},
            "transition[0, 0, 0, 0]: got nan, expected a finite probability",
        ),
        ({"transition": np.zeros((2, 2, 2))}, "transition: got 'shape [2, 2, 2]', expected [..., 2, 2, 2, 2]"),
        ({"reward": np.full((2, 2, 2, 2), np.nan)}, "reward[0, 0, 0, 0]: got nan, expected a finite reward"),
        ({"reward": np.zeros((3, 2, 2))}, "reward: got 'shape [3, 2, 2]', expected [..., player, s, a1, ..., an]"),
        ({"reward": "many"}, "reward: got 'str', expected a tensor, an array or nested lists of numbers"),
        ({"discount": 0.0}, "discount: got 0.0, expected a number above 0 and at most 1"),
        ({"discount": 1.5}, "discount: got 1.5"),
        ({"discount": math.nan}, "discount: got nan"),
        ({"initial": [0.5, 0.6]}, "initial: got 'a row that sums to 1.1', expected rows that sum to one"),
        ({"initial": [0.2, 0.3, 0.5]}, "initial: got 'shape [3]', expected [..., 2], one number for each state"),
        ({"players": ("a",)}, "players: got '[1] names', expected [2]"),
        ({"states": ("a",)}, "states: got '[1] names', expected [2]"),
        (
            {"transition": Sparse(torch.full((2, 2, 2, 1), 2), torch.full((2, 2, 2, 1), 0.5))},
            "transition.successors[0, 0, 0, 0]: got 2, expected a state from 0 to 1",
        ),
        (
            {"transition": Sparse(torch.zeros(2, 2, 2, 1), torch.full((2, 2, 2, 1), 0.5))},
            "transition.successors: got torch.float32, expected whole numbers",
        ),
        (
            {"transition": Sparse(torch.zeros(2, 2, 1).long(), torch.full((2, 2, 2, 1), 0.5))},
            "transition.successors: got 'shape [2, 2, 1]', expected [..., 2, 2, 2, k]",
        ),
    ],
)
def test_tables_that_are_no_game_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        StochasticGame(**(FINE | given))  # type: ignore[arg-type]
    assert str(caught.value).startswith(words)


def test_too_many_states_are_refused_by_their_number() -> None:
    reward = torch.zeros(1, 1).expand(1, 20_000)[..., None]
    law = Sparse(torch.zeros(1, 1, 1).long().expand(20_000, 1, 1), torch.full((1, 1, 1), 0.5).expand(20_000, 1, 1))
    with pytest.raises(InvalidInput, match="20,000 states"):
        StochasticGame(reward, law)


def test_a_users_own_class_is_checked_before_a_run() -> None:
    class Broken(TabularGame):
        reward = torch.zeros(1, 1, 2, dtype=torch.float64)
        transition = torch.ones(1, 2, 1, dtype=torch.float64)
        initial = torch.ones(1, dtype=torch.float64)

    with pytest.raises(InvalidInput, match="stopping"):
        gs.solve(Broken(), gs.make_solver("policy-gradient"))


def test_laws_share_their_discount() -> None:
    table = torch.full((1, 2, 1), 0.5, dtype=torch.float64)
    assert float(as_law(table, (2,), 0.5).totals[0, 0]) == 0.25
