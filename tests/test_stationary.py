"""Stationary equilibria of stochastic games: every one is judged here by a policy iteration of its own."""

from itertools import product

import numpy as np
import pytest
import torch

from gamesim.equilibria import markov_barrier, stationary
from gamesim.equilibria.bimatrix import all_equilibria
from gamesim.equilibria.markov_barrier import Barrier
from gamesim.equilibria.markov_path import finish, follow
from gamesim.equilibria.stationary import find_stationary, pure_stationary
from gamesim.errors import InvalidInput
from gamesim.games.stochastic import StochasticGame
from gamesim.games.transitions import Sparse


def random_tables(states, counts, seed, kind="normal"):
    rng = np.random.default_rng(seed)
    reward = rng.standard_normal((len(counts), states, *counts))
    transition = rng.dirichlet(np.ones(states), size=(states, *counts))
    if kind == "whole":  # ties, and equilibria that are not isolated
        reward = reward.round()
        to = rng.integers(states, size=(states, *counts))
        transition = np.eye(states)[to]
    return reward, transition


def random_game(states, counts, seed, discount=0.95, kind="normal"):
    return StochasticGame(*random_tables(states, counts, seed, kind), discount=discount)


def worst_gain(game, policy):
    """What the best stationary deviation of one player gains in one state: loops, and policy iteration with argmax."""
    reward, P = game.reward.numpy(), game.discount * game.transition.numpy()
    rows = [x.numpy() for x in policy]
    assert all((x >= 0).all() and np.allclose(x.sum(-1), 1, rtol=0, atol=1e-12) for x in rows)
    states, counts, worst = reward.shape[1], reward.shape[2:], 0.0
    for i in range(len(rows)):
        paid, moved = np.zeros((states, counts[i])), np.zeros((states, counts[i], states))
        for a in product(*map(range, counts)):
            chance = np.prod([rows[j][:, a[j]] for j in range(len(rows)) if j != i] or [np.ones(states)], axis=0)
            paid[:, a[i]] += chance * reward[(i, slice(None), *a)]
            moved[:, a[i]] += chance[:, None] * P[(slice(None), *a)]
        own = (rows[i] * paid).sum(-1)
        value = np.linalg.solve(np.eye(states) - (rows[i][..., None] * moved).sum(1), own)
        best = value
        for _ in range(100):
            act = (paid + moved @ best).argmax(-1)
            pick = range(states), act
            new = np.linalg.solve(np.eye(states) - moved[pick], paid[pick])
            if new.max() <= best.max() and (new <= best + 1e-13 * np.abs(best).max()).all():
                break
            best = np.maximum(new, best)
        worst = max(worst, float((best - value).max()))
    return worst


def settled(game, **options):
    found = find_stationary(game, **options)
    assert found.converged
    assert worst_gain(game, found.policy) <= 1e-6
    assert abs(worst_gain(game, found.policy) - found.gain) < 1e-9
    return found


@pytest.mark.parametrize(("states", "counts"), [(1, (3, 3)), (4, (2, 2)), (16, (4, 4)), (6, (2, 3)), (5, (2, 1, 3))])
def test_random_games(states, counts):
    for seed in range(2):
        settled(random_game(states, counts, seed))


@pytest.mark.parametrize(("states", "counts", "seed"), [(64, (4, 4), 1), (16, (4, 4, 4), 3), (8, (3, 3, 3, 3), 1)])
def test_large_random_games(states, counts, seed):
    assert settled(random_game(states, counts, seed)).gain < 1e-8


@pytest.mark.parametrize("seed", range(6))
def test_one_state_is_a_matrix_game(seed):
    game = random_game(1, (3, 3), 50 + seed, discount=0.5)
    found = settled(game, method="path")
    A, B = game.reward[:, 0].numpy()
    every = [np.concatenate(each.probabilities) for each in all_equilibria(A, B)]
    ours = torch.cat([x[0] for x in found.policy]).numpy()
    assert min(np.abs(ours - each).max() for each in every) < 1e-9


def test_pennies_in_every_state_have_a_closed_form():
    """Where only states decide what comes next, each state is played as a game of its own."""
    rng = np.random.default_rng(3)
    a, b, c, d = rng.uniform(1, 2, (4, 5))
    reward, zero = np.zeros((2, 5, 2, 2)), np.zeros(5)
    reward[0] = np.stack([np.stack([a, zero], -1), np.stack([zero, b], -1)], -2)
    reward[1] = np.stack([np.stack([zero, c], -1), np.stack([d, zero], -1)], -2)
    after = np.broadcast_to(rng.dirichlet(np.ones(5), 5)[:, None, None], (5, 2, 2, 5))
    found = settled(StochasticGame(reward, after, discount=0.9))
    np.testing.assert_allclose(found.policy[0][:, 0], d / (c + d), rtol=1e-9)
    np.testing.assert_allclose(found.policy[1][:, 0], b / (a + b), rtol=1e-9)
    assert not found.pure
    assert all(bool(x.all()) for x in found.supports)


def test_zero_sum_games_have_shapleys_values():
    reward, transition = random_tables(5, (2, 2), 8)
    reward[1] = -reward[0]
    game = StochasticGame(reward, transition, discount=0.8)
    values = np.zeros(5)
    for _ in range(200):
        q = reward[0] + 0.8 * transition @ values
        low, high = q.min(2).max(1), q.max(1).min(1)
        (a, b), (c, d) = q[:, 0].T, q[:, 1].T
        with np.errstate(all="ignore"):
            values = np.where(low == high, low, (a * d - b * c) / (a + d - b - c))
    found = settled(game)
    np.testing.assert_allclose(game.state_values(found.policy)[0], values, rtol=0, atol=1e-10)


def test_one_player_does_the_best():
    game = random_game(6, (4,), 2, discount=0.9)
    values = np.zeros(6)
    for _ in range(500):
        values = (game.reward[0].numpy() + 0.9 * game.transition.numpy() @ values).max(-1)
    for method in ("pure", "path"):
        found = settled(game, method=method)
        assert found.pure
        np.testing.assert_allclose(game.state_values(found.policy)[0], values, rtol=0, atol=1e-9)


def test_equilibria_that_are_not_isolated():
    found = [settled(random_game(10, (3, 3), seed, kind="whole"), method="path") for seed in range(8)]
    assert {each.message for each in found} == {
        "followed to its end",
        "followed to its end, where equilibria are not isolated",
    }


def test_games_in_which_nothing_is_at_stake():
    game = StochasticGame(np.zeros((2, 3, 2, 2)), random_tables(3, (2, 2), 0)[1], discount=0.9)
    assert settled(game).gain == 0
    twice = random_tables(4, (2, 2), 1)  # every action stands there twice
    game = StochasticGame(
        *(np.repeat(np.repeat(x, 2, axis), 2, axis + 1) for x, axis in zip(twice, (2, 1), strict=True)), discount=0.9
    )
    settled(game, method="path")


def test_play_that_stops_without_a_discount():
    reward, transition = random_tables(6, (3, 3), 4)
    transition = transition * np.random.default_rng(4).uniform(0.5, 0.99, (6, 3, 3, 1))
    settled(StochasticGame(reward, transition))


def test_sparse_transitions_are_the_same_game():
    rng = np.random.default_rng(5)
    reward, p = rng.standard_normal((2, 7, 3, 3)), rng.dirichlet(np.ones(2), (7, 3, 3))
    to = np.stack([rng.permutation(7)[:2] for _ in range(63)]).reshape(7, 3, 3, 2)
    dense = (np.eye(7)[to] * p[..., None]).sum(-2)
    sparse = StochasticGame(reward, Sparse(torch.from_numpy(to), torch.from_numpy(p)), discount=0.9)
    found = settled(StochasticGame(reward, dense, discount=0.9))
    for ours, theirs in zip(find_stationary(sparse).policy, found.policy, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


def test_units_of_rewards_do_not_matter():
    reward, transition = random_tables(6, (3, 3), 6)
    plain = settled(StochasticGame(reward, transition, discount=0.9), method="path")
    scaled = (reward + 1e3) * np.array([1e4, 1e-3])[:, None, None, None]
    found = find_stationary(StochasticGame(scaled, transition, discount=0.9), method="path", tolerance=1e-4)
    for ours, theirs in zip(found.policy, plain.policy, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-8)


def test_rewards_too_large_for_the_tolerance_say_so():
    reward, transition = random_tables(6, (3, 3), 0)
    found = find_stationary(StochasticGame(1e12 * reward, transition, discount=0.9))
    assert not found.converged
    assert found.gain < 0.1  # of 1e12
    assert found.message.endswith("leave no digits for less gain")


def test_a_start_chooses_the_equilibrium():
    meet = np.array([[2.0, 0.0], [0.0, 1.0]])
    stay = np.ones((1, 2, 2, 1))
    game = StochasticGame(np.stack([meet, meet])[:, None], stay, discount=0.5)
    for row, wanted in (([0.9, 0.1], [1.0, 0.0]), ([0.1, 0.9], [0.0, 1.0])):
        start = (torch.tensor([row], dtype=torch.float64),) * 2
        for method in ("auto", "pure", "path"):
            found = settled(game, start=start, method=method)
            assert [x[0].tolist() for x in found.policy] == [wanted, wanted]
    near = (torch.tensor([[0.34, 0.66]], dtype=torch.float64),) * 2
    mixed = settled(game, start=near, method="newton")
    assert mixed.method == "newton"
    np.testing.assert_allclose(mixed.policy[0][0], [1 / 3, 2 / 3], rtol=1e-12)


def test_newton_comes_back_to_an_equilibrium():
    game = random_game(16, (4, 4), 2)
    first = settled(game)
    assert any(bool(((x > 0) & (x < 1)).any()) for x in first.policy)
    rng = np.random.default_rng(0)
    start = []
    for x in first.policy:  # moved within the supports
        y = x * torch.from_numpy(1 + 1e-3 * rng.standard_normal(x.shape))
        start.append(y / y.sum(-1, keepdim=True))
    again = settled(game, start=tuple(start), method="newton")
    for ours, theirs in zip(again.policy, first.policy, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


def test_a_walk_that_is_lost_is_walked_again(monkeypatch):
    game = random_game(16, (4, 4), 2)
    steps = settled(game, method="path").steps
    monkeypatch.setattr(stationary, "WALKS", ((0.1, 3), (0.02, 10_000)))
    found = settled(game)
    assert found.walks == 2
    assert found.steps > steps
    monkeypatch.setattr(stationary, "WALKS", ((0.1, 1),))
    failed = find_stationary(game)
    assert not failed.converged
    assert failed.walks == 1 + stationary.PRIORS
    assert failed.gain == pytest.approx(worst_gain(game, failed.policy), abs=1e-9)


def test_one_curve_for_each_prior():
    """From the uniform prior and from another one; what was found is the same each time."""
    game = random_game(10, (3, 3), 7)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        prior = tuple(torch.from_numpy(rng.dirichlet(np.ones(3), 10)) for _ in range(2))
        first, second = (settled(game, start=prior, method="path") for _ in range(2))
        assert all(torch.equal(x, y) for x, y in zip(first.policy, second.policy, strict=True))


@pytest.mark.parametrize("singular", [1e4, 8.0, 0.0])
def test_newtons_step_against_finite_differences(monkeypatch, singular):
    """The elimination of states, with all, some and none of them eliminated."""
    monkeypatch.setattr(markov_barrier, "SINGULAR", singular)
    reward, transition = random_tables(3, (2, 3, 2), 0)
    rng = np.random.default_rng(1)
    prior = [rng.dirichlet(np.ones(count), 3) for count in (2, 3, 2)]
    barrier = Barrier(reward, 0.9 * transition.reshape(3, 12, 3), prior)
    start = barrier.start()
    assert np.abs(barrier.residual(start).residual).max() < 1e-14
    for ours, theirs in zip(barrier.policy(start), prior, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    x = rng.standard_normal(len(start))
    x[-1] = 0.4

    def F(x):
        rows = barrier.residual(x).residual
        return np.concatenate([rows[:, :7].ravel(), rows[:, 7:].ravel()])

    along = rng.standard_normal(len(x))
    along[21:-1] = 0
    slopes = np.stack([(F(x + e) - F(x - e)) / 2e-6 for e in 1e-6 * np.eye(len(x))], 1)
    slopes = np.vstack([slopes, along])
    step, tangent = barrier.steps(barrier.residual(x), along, 0.3)
    np.testing.assert_allclose(slopes @ step, np.append(F(x), 0.3), atol=1e-7 * np.abs(step).max())
    np.testing.assert_allclose(slopes @ tangent, np.append(0 * F(x), 1.0), atol=1e-7 * np.abs(tangent).max())


def test_the_curve_ends_in_exact_zeros():
    reward, transition = random_tables(6, (3, 3), 1)
    barrier = Barrier(reward, 0.9 * transition.reshape(6, 9, 6), [np.full((6, 3), 1 / 3)] * 2)
    walk = follow(barrier)
    rows = np.concatenate(barrier.policy(walk.point))
    assert walk.point[-1] == 1
    assert (rows == 0).any()
    assert rows[rows > 0].min() > 1e-6
    assert finish(barrier, walk.point) is not None


def by_hand(game):
    """Every profile of pure policies, each judged by policy iteration."""
    counts, states = game.action_counts, game.state_count
    found = []
    for flat in product(*(product(range(count), repeat=states) for count in counts)):
        rows = tuple(torch.eye(count, dtype=torch.float64)[list(a)] for count, a in zip(counts, flat, strict=True))
        if worst_gain(game, rows) < 1e-9:
            found.append([list(a) for a in flat])
    return found


@pytest.mark.parametrize(("states", "counts"), [(3, (2, 2)), (2, (3, 2)), (2, (2, 2, 2)), (1, (3, 3))])
@pytest.mark.parametrize("kind", ["normal", "whole"])
@pytest.mark.parametrize("few", [1, 2048], ids=["split", "listed"])
def test_pure_equilibria_are_those_found_by_hand(monkeypatch, states, counts, kind, few):
    monkeypatch.setattr("gamesim.equilibria.markov_pure.FEW", few)
    for seed in range(2):
        game = random_game(states, counts, seed, 0.9, kind)
        found = pure_stationary(game)
        assert found.complete
        assert found.actions.tolist() == by_hand(game)
        for k in range(len(found)):
            assert worst_gain(game, tuple(x[k] for x in found.policies)) < 1e-8


def test_strict_pure_equilibria_lose_by_every_deviation():
    for seed in range(6):
        game = random_game(3, (2, 2), seed, 0.9, "whole")
        found = pure_stationary(game)
        for k, policy in enumerate(zip(*found.policies, strict=True)):
            values, q = game.state_values(policy), game.values(policy)
            short = [(values[i][:, None] - q[i])[policy[i] == 0].min() for i in range(2)]
            assert bool(found.strict[k]) == (min(short) > 1e-7)
            assert float(found.margin[k]) == pytest.approx(float(min(short)), abs=1e-9)


def test_a_list_that_is_cut_says_so():
    meet = np.broadcast_to(np.eye(2), (2, 3, 2, 2))
    game = StochasticGame(meet, np.full((3, 2, 2, 3), 0.2))
    assert len(pure_stationary(game)) == 8
    cut = pure_stationary(game, at_most=3)
    assert (len(cut), cut.complete) == (3, False)


def test_an_empty_list_is_a_proof():
    pennies = np.array([[1.0, -1.0], [-1.0, 1.0]])
    game = StochasticGame(np.stack([pennies, -pennies])[:, None], np.full((1, 2, 2, 1), 0.5))
    found = pure_stationary(game)
    assert (len(found), found.complete) == (0, True)
    assert [tuple(x.shape) for x in found.policies] == [(0, 1, 2), (0, 1, 2)]
    assert not find_stationary(game, start=(torch.tensor([[0.9, 0.1]]),) * 2, method="pure").converged


def test_refusals():
    game = random_game(3, (2, 2), 0)
    reward, transition = random_tables(3, (2, 2), 0)
    batch = StochasticGame(np.stack([reward, reward]), transition, discount=0.9, player_count=2)
    uniform = game.start()
    for call, words in (
        (lambda: find_stationary(batch), r"game: got .a batch of games of shape \[2\]"),
        (lambda: pure_stationary(batch), r"game: got .a batch of games of shape \[2\]"),
        (lambda: find_stationary(reward), "game: got .ndarray"),
        (lambda: pure_stationary(reward), "game: got .ndarray"),
        (lambda: find_stationary(game, method="paths"), "method: got 'paths'.*did you mean path"),
        (lambda: find_stationary(game, method="newton"), "start: got None"),
        (lambda: find_stationary(game, tolerance=0), "tolerance: got 0"),
        (lambda: find_stationary(game, tolerance=float("nan")), "tolerance: got nan"),
        (lambda: find_stationary(game, start=uniform[:1]), "start: got .shapes"),
        (lambda: find_stationary(game, start=(uniform[0], 2 * uniform[1])), r"start\[1\].*: got .a row that sums to 2"),
        (lambda: pure_stationary(game, at_most=0), "at_most: got 0"),
    ):
        with pytest.raises(InvalidInput, match=words):
            call()
