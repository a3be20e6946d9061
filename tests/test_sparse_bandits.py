"""Long-horizon bandits: the model against brute force, the search for lags, epochs, regret, refusals."""

import math
from typing import Any

import pytest
import torch

from gamesim.algorithms.sparse_bandit import SparseBandit, correlate, pursue, regress
from gamesim.envs.bandits.bernoulli import Bernoulli
from gamesim.envs.bandits.long_horizon import LongHorizon
from gamesim.errors import InvalidInput
from gamesim.games.lagged import mean_maximum, over_rounds
from gamesim.loop import Status, solve
from gamesim.parameters import build
from gamesim.randomness import Stream
from gamesim.states import tensors
from gamesim.testing import check_batch, check_solver


def data(batch: int, n: int, d: int, lags: list[int], noise: float, seed: int = 0) -> tuple[Any, Any, Any]:
    """x[b, t, d], y[b, t] that depends on x at the lags, and phi[k, d]."""
    x, e, phi = (
        Stream(seed).normal((batch * n * d,)),
        Stream(seed, 1).normal((batch, n)),
        Stream(seed, 2).normal((9, d)),
    )
    x, phi = x.reshape(batch, n, d), phi[: len(lags)]
    y = noise * e
    for i, block in zip(lags, phi, strict=True):
        y[:, i:] += (x[:, : n - i] * block).sum(-1)
    return x, y, phi


# --- the model ------------------------------------------------------------------------------------------------------


def test_rewards_are_sums_over_lags() -> None:
    game = LongHorizon(horizon=9, sparsity=4, dimension=3, instance=(1, 2))
    chosen = Stream(0).normal((2 * 20 * 3,)).reshape(2, 20, 3)
    for first in (0, 5, 19):
        paid = game.paid(chosen, first)
        for b in range(2):
            for t in range(first, 20):
                terms = [
                    float(game.weights[b, i]) * float(chosen[b, t - i] @ game.theta[b]) for i in range(min(9, t + 1))
                ]
                assert float(paid[b, t - first]) == pytest.approx(sum(terms), abs=1e-12)


def test_instances_are_what_they_say() -> None:
    many = LongHorizon(horizon=30, sparsity=4, instance=(3, 8, 5))
    assert (many.weights > 0).sum(-1).tolist() == [4, 4, 4]
    torch.testing.assert_close(many.weights.sum(-1), torch.ones(3).double())
    torch.testing.assert_close(many.theta.norm(dim=-1), torch.ones(3).double())
    alone = LongHorizon(horizon=30, sparsity=4, instance=8)
    assert torch.equal(alone.weights, many.weights[1])
    assert torch.equal(alone.theta, many.theta[1])
    check_batch(many)


def test_the_gap_is_the_mean_loss_of_a_direction() -> None:
    game = LongHorizon(horizon=5, sparsity=2, dimension=4, contexts=6)
    contexts, _ = game.shown(Stream(2), 0, 20_000, ())
    directions = (
        torch.zeros(4).double(),
        game.theta,
        -game.theta,
        game.theta + torch.tensor([1.0, 0, 0, 0.5]).double(),
    )
    for phi in directions:
        arm = (contexts * phi).sum(-1).argmax(-1)
        gains = (contexts * game.best).sum(-1)
        lost = gains.amax(-1) - gains.gather(-1, arm[:, None]).squeeze(-1)
        error = 5 * float(lost.std()) / math.sqrt(len(lost)) + 1e-12
        assert abs(float(lost.mean()) - float(game.metrics((phi,))["gap"])) < error


def test_the_mean_of_the_largest_normal_number() -> None:
    known = {1: 0.0, 2: 1 / math.sqrt(math.pi), 3: 1.5 / math.sqrt(math.pi), 10: 1.53875273083517}
    for count, value in known.items():
        assert mean_maximum(count) == pytest.approx(value, abs=1e-9)


def test_luck_of_many_rounds_is_that_of_each() -> None:
    stream = Stream([4, 9])
    found = over_rounds(stream, 3, 5, (2, 1), 7, draw=1)
    assert found.shape == (2, 1, 5, 7)
    for k in range(5):
        one = stream.at(3 + k)
        one.quick((2, 1))
        assert torch.equal(found[:, 0, k], one.quick((2, 7)))


# --- the search -----------------------------------------------------------------------------------------------------


def test_correlations_with_lags() -> None:
    x, y, _ = data(2, 30, 3, [1], 1.0)
    found = correlate(y, x, 8)
    for i in range(8):
        expected = torch.einsum("bt,btd->bd", y[:, i:], x[:, : 30 - i])
        torch.testing.assert_close(found[:, i], expected, atol=1e-12, rtol=0)


def test_ridge_regression_on_lags() -> None:
    x, y, _ = data(1, 40, 2, [0, 3], 0.5)
    blocks, left = regress(x, y, torch.tensor([[0, 3, 5]]), torch.tensor([[1.0, 1.0, 0.0]]).double(), 0.7)
    rows = torch.zeros(40, 4).double()
    rows[:, :2], rows[3:, 2:] = x[0], x[0, :37]
    expected = torch.linalg.solve(rows.T @ rows + 0.7 * torch.eye(4), rows.T @ y[0])
    torch.testing.assert_close(blocks[0, :2].flatten(), expected)
    assert blocks[0, 2].abs().max() == 0
    torch.testing.assert_close(left[0], y[0] - rows @ expected)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("lags", [[0], [7, 2], [39, 0, 11, 20]], ids=str)
def test_the_pursuit_finds_the_lags(lags: list[int], noise: float) -> None:
    x, y, _ = data(6, 400, 4, lags, noise)
    found, kept = pursue(x, y, 40, 8)
    for b in range(6):
        assert sorted(found[b][kept[b] > 0].tolist()) == sorted(lags)


def test_the_pursuit_finds_nothing_in_noise() -> None:
    x, y, _ = data(40, 300, 4, [], 1.0)
    _, kept = pursue(x, y, 30, 8)
    assert float((kept.sum(-1) > 0).double().mean()) <= 0.05  # a BIC of 4 numbers lets few through


def test_the_pursuit_of_a_batch_is_one_by_one() -> None:
    x, y, _ = data(5, 200, 3, [4, 9], 1.5)
    found, kept = pursue(x, y, 20, 6)
    for b in range(5):
        one, alone = pursue(x[b : b + 1], y[b : b + 1], 20, 6)
        assert found[b][kept[b] > 0].tolist() == one[0][alone[0] > 0].tolist()


# --- runs -----------------------------------------------------------------------------------------------------------


def test_steps_are_leaps_and_seeds_one_by_one() -> None:
    game = LongHorizon(horizon=6, sparsity=2, rounds=80, instance=(0, 1))
    leaps = solve(game, SparseBandit(), iterations=80, every=80, seeds=2)
    steps = solve(game, SparseBandit(), iterations=80, every=1, seeds=2)
    for name, x in tensors(leaps.state).items():
        torch.testing.assert_close(tensors(steps.state)[name], x, atol=1e-12, rtol=0)
    one = solve(LongHorizon(horizon=6, sparsity=2, rounds=80, instance=1), SparseBandit(), iterations=80, seed=1)
    for name, x in tensors(one.state).items():
        torch.testing.assert_close(tensors(leaps.state)[name][1, 1], x, atol=1e-12, rtol=0)
    check_solver(SparseBandit(), game)


def test_epochs_double() -> None:
    game, solver = LongHorizon(horizon=3, sparsity=1), SparseBandit()
    ends, t = [0], 0
    while t < 100:
        ends.append(t := solver._epoch_end(t, game))
    assert ends == [0, 6, 12, 24, 48, 96, 192]
    assert [SparseBandit(first=5)._epoch_end(t, game) for t in (4, 5, 9, 10, 39, 40)] == [5, 10, 10, 20, 40, 80]


def test_what_is_learned_changes_only_at_the_end_of_an_epoch() -> None:
    game = LongHorizon(horizon=5, sparsity=2, rounds=40)
    states = [solve(game, SparseBandit(), iterations=t, every=40).state for t in (9, 10, 19, 20)]
    assert float(states[0].policy[0].abs().max()) == 0
    assert float(states[1].policy[0].abs().max()) > 0
    assert torch.equal(states[1].policy[0], states[2].policy[0])
    assert not torch.equal(states[2].policy[0], states[3].policy[0])


def test_regret_is_what_the_choices_lost() -> None:
    game = LongHorizon(horizon=5, sparsity=2, rounds=60)
    result = solve(game, SparseBandit(), iterations=60, every=60)
    contexts, _ = game.shown(Stream(0), 0, 60, ())
    lost = (contexts @ game.best).amax(-1) - result.state.chosen @ game.best
    assert float(result.metric("regret")[0, -1]) == pytest.approx(float(lost.sum()))
    assert bool((lost >= -1e-12).all())


def test_lags_found_beat_the_present_and_chance() -> None:
    game = LongHorizon(horizon=20, sparsity=3, rounds=1600, instance=(0, 1, 2))
    sparse, present, chance = (
        solve(game, SparseBandit(lags=lags), iterations=1600, every=1600, seeds=5)
        for lags in ("sparse", "present", "none")
    )
    truth = (game.weights > 0).double().expand(sparse.state.support.shape)
    assert torch.equal(sparse.state.support, truth)
    for worse in (present, chance):
        gain = worse.metric("regret")[..., -1] - sparse.metric("regret")[..., -1]
        assert float(gain.mean()) > 3 * float(gain.std()) / math.sqrt(gain.numel())
    expected = 1600 * float(game.metrics(game.start())["gap"][0])
    regret = chance.metric("regret")[..., -1]
    assert abs(float(regret.mean()) - expected) < 5 * float(regret.std()) / math.sqrt(5)
    assert float(sparse.metric("gap")[..., -1].max()) < 0.01


def test_fewer_rounds_than_the_horizon() -> None:
    result = solve(LongHorizon(horizon=50, rounds=30), SparseBandit(), iterations=30, every=30)
    assert result.status is Status.OUT_OF_ITERATIONS
    early = solve(LongHorizon(horizon=50, rounds=30), SparseBandit(first=10), iterations=30, every=30)
    assert bool(early.policy[0].isfinite().all())


@pytest.mark.parametrize(
    ("made", "parameters", "message"),
    [
        (LongHorizon, {"sparsity": "51"}, "sparsity: got 51, expected at most horizon=50"),
        (LongHorizon, {"instance": "[]"}, "instance: got"),
        (LongHorizon, {"noise": "nan"}, "noise: got 'nan'"),
        (LongHorizon, {"dimension": "0"}, "dimension: got 0"),
        (LongHorizon, {"rounds": "10000000", "dimension": "11"}, "rounds: got 10000000, expected at most 9,090,909"),
        (SparseBandit, {"exploration": "-1"}, "exploration: got -1.0"),
        (SparseBandit, {"ridge": "0"}, "ridge: got 0.0"),
        (SparseBandit, {"lags": "all"}, "lags: got 'all', expected one of none, present, sparse"),
    ],
    ids=["sparsity", "instance", "noise", "dimension", "rounds", "exploration", "ridge", "lags"],
)
def test_bad_parameters_are_refused(made: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        build(made, parameters)


def test_misfits_are_refused() -> None:
    game = LongHorizon(rounds=20)
    with pytest.raises(InvalidInput, match="iterations: got 21, expected at most the 20 rounds"):
        solve(game, SparseBandit(), iterations=21, every=21)
    with pytest.raises(InvalidInput, match="a LaggedBandit, which SparseBandit needs"):
        solve(Bernoulli(), SparseBandit())
    with pytest.raises(InvalidInput, match=r"expected finite numbers \[..., 5\]"):
        game.require((torch.zeros(4),))
    with pytest.raises(InvalidInput, match="a tuple of one direction"):
        game.require(torch.zeros(5))
