"""Zero-sum stochastic games against closed forms, scipy's linear programs, and bounds recomputed from the policies."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import gamesim as gs
from gamesim.algorithms.shapley_iteration import ShapleyIteration
from gamesim.envs.stochastic.soccer import Soccer
from gamesim.equilibria import shapley
from gamesim.equilibria.shapley import Shapley, ZeroSumTabularGame, solve_shapley
from gamesim.equilibria.stages import no_basis, on_basis, solve_stages
from gamesim.equilibria.zero_sum import solve_zero_sum
from gamesim.errors import InvalidInput
from gamesim.games import Sparse, StochasticGame
from gamesim.kernels import fused

METHODS = ["auto", "value-iteration", "policy-iteration"]


def zero_sum(R: Tensor, P: Any, discount: float = 1.0) -> StochasticGame:
    return StochasticGame(torch.stack([R, -R], -4), P, discount=discount, player_count=2)


@cache
def random_game(*shape: int, discount: float = 0.9, seed: int = 0, stop: bool = False) -> StochasticGame:
    """Normal rewards [..., s, a, b] and Dirichlet laws; with `stop` a stopping probability of its own everywhere."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(shape[-3]), size=shape)
    P = P * rng.uniform(0.3, 1, size=shape)[..., None] if stop else P
    return zero_sum(torch.from_numpy(rng.standard_normal(shape)), torch.from_numpy(P), discount)


def sure_moves(S: int, A: int, discount: float, seed: int = 0) -> StochasticGame:
    """Places on a ring, moves by one at most, rewards -1, 0, 1: much is tied, and Newton's method alone cycles."""
    rng = np.random.default_rng(seed)
    R = torch.from_numpy(rng.integers(-1, 2, (S, A, A)).astype(float))
    to = (np.arange(S)[:, None, None, None] + rng.integers(-1, 2, (S, A, A, 1))) % S
    return zero_sum(R, Sparse(torch.from_numpy(to), torch.ones(S, A, A, 1, dtype=torch.float64)), discount)


def value_by_scipy(A: Any) -> float:
    from scipy.optimize import linprog

    m, n = A.shape
    found = linprog(
        np.append(np.zeros(m), -1.0),
        A_ub=np.column_stack([-A.T, np.ones(n)]),
        b_ub=np.zeros(n),
        A_eq=np.append(np.ones(m), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * m + [(None, None)],
        method="highs-ds",
    )
    return float(-found.fun)


def operator_by_scipy(game: StochasticGame, V: Any) -> Any:
    """T V of one game, by its tables and an LP for each state."""
    P = game.law.dense().unflatten(-2, game.action_counts).numpy()
    return np.array([value_by_scipy(A) for A in game.reward[0].numpy() + P @ V])


@cache
def iterated_by_scipy(game: StochasticGame, delta: float, tolerance: float) -> Any:
    """Shapley's own iteration with the bound delta / (1 - delta) |V - V'| on its error."""
    V = np.zeros(game.state_count)
    while True:
        last, V = V, operator_by_scipy(game, V)
        if delta / (1 - delta) * np.abs(V - last).max() <= tolerance:
            return V


def certify(game: Any, found: Shapley, tolerance: float) -> None:
    """Policies are policies, and best responses to them leave the values within the tolerance."""
    assert bool(found.converged.all())
    for x in found.policy:
        assert bool((x >= 0).all())
        assert_close(x.sum(-1), torch.ones_like(x[..., 0]), rtol=0, atol=1e-12)
    _, best = game.best_responses(found.policy)
    assert bool((found.values <= best[..., 0, :] + tolerance).all())
    assert bool((found.values >= -best[..., 1, :] - tolerance).all())
    assert_close(found.gap, (best[..., 0, :] + best[..., 1, :]).amax(-1), rtol=0, atol=1e-9)
    assert_close(found.value, (game.initial * found.values).sum(-1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_a_game_of_one_state_is_a_matrix_game_for_ever(method: Any) -> None:
    A = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 1, 3, 4)))
    found = solve_shapley(zero_sum(A, torch.ones(1, 3, 4, 1), 0.9), 1e-12, method)
    assert_close(found.values, solve_zero_sum(A).value / (1 - 0.9), rtol=0, atol=1e-11)
    assert float(found.gap.amax()) < 1e-10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stay", [0.25, 0.75, 1.0])
def test_a_value_that_is_no_rational_number(method: Any, stay: float) -> None:
    """diag(1 + c v, 1) is worth (1 + c v) / (2 + c v), so that c v^2 + (2 - c) v - 1 = 0: Shapley's own remark."""
    P = torch.tensor([[[[stay], [0.0]], [[0.0], [0.0]]]], dtype=torch.float64)
    discount = 0.96
    found = solve_shapley(zero_sum(torch.eye(2, dtype=torch.float64)[None], P, discount), 1e-13, method)
    c = discount * stay
    assert float(found.value) == pytest.approx((c - 2 + ((2 - c) ** 2 + 4 * c) ** 0.5) / (2 * c), abs=1e-12)


@pytest.mark.parametrize("on", [True, False], ids=["fused", "plain"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(6, 3, 3), (5, 2, 4), (4, 4, 2)], ids=str)
def test_against_value_iteration_by_linear_programs(shape: tuple[int, ...], method: Any, on: bool) -> None:
    game = random_game(*shape, discount=0.6, seed=1)
    with fused(on):
        found = solve_shapley(game, 1e-10, method)
    assert_close(found.values, torch.from_numpy(iterated_by_scipy(game, 0.6, 1e-9)), rtol=0, atol=2e-9)
    certify(game, found, 1e-9)


def test_a_hundred_states_are_a_fixed_point_of_linear_programs() -> None:
    """|V - V*| <= |T V - V| / (1 - delta), and 1e-8 is asked for."""
    game = random_game(100, 5, 5, discount=0.95)
    for method in ("value-iteration", "policy-iteration"):
        found = solve_shapley(game, 1e-10, method)
        V = found.values.numpy()
        assert np.abs(operator_by_scipy(game, V) - V).max() / (1 - 0.95) < 1e-8
        assert float(found.gap) < 1e-9
        assert found.sweeps < 15


def test_soccer() -> None:
    """Turning the board by half a turn exchanges the players; the values are a fixed point of linear programs."""
    game = Soccer(rows=2, columns=3)
    found = solve_shapley(game, 1e-8)
    V = found.values.numpy()
    assert np.abs(operator_by_scipy(game, V) - V).max() / (1 - 0.9) < 1e-8
    assert float(found.value) == pytest.approx(0, abs=1e-8)
    a, b, ball = game.situations.T
    turned = game.state_of(5 - b, 5 - a, 1 - ball)
    assert_close(found.values, -found.values[turned], rtol=0, atol=2e-8)
    certify(game, found, 1e-8)


def test_newtons_method_alone_would_cycle_here() -> None:
    """5 + 3v/4 and 6 above 3v/4 twice: from 0 Newton goes to 20 and back, and the value is 6."""
    R = torch.tensor([[[5.0, 6.0], [0.0, 0.0]]], dtype=torch.float64)
    game = zero_sum(R, torch.tensor([[[[0.75], [0.0]], [[0.75], [0.75]]]]))
    visited = [torch.zeros(1, dtype=torch.float64)]
    for _ in range(4):
        stages = solve_stages(shapley.stage_payoffs(game, visited[-1]), no_basis(R))
        visited.append(shapley.policy_values(game, (stages.row, stages.column)))
    assert torch.stack(visited)[:, 0].tolist() == pytest.approx([0, 20, 0, 20, 0])
    for method in METHODS:
        assert float(solve_shapley(game, 1e-12, method).value) == pytest.approx(6, abs=1e-11)  # type: ignore[arg-type]


@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_policy_iteration_where_moves_are_sure(discount: float) -> None:
    game = sure_moves(60, 4, discount)
    quick, slow = (solve_shapley(game, 1e-9, method) for method in ("policy-iteration", "value-iteration"))  # type: ignore[arg-type]
    assert_close(quick.values, slow.values, rtol=0, atol=2e-9)
    assert quick.sweeps < slow.sweeps / 4
    certify(game, quick, 1e-9)


@pytest.mark.parametrize("method", ["value-iteration", "policy-iteration"])
def test_a_search_that_is_given_up_converges_all_the_same(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With steps that never do their duty all that is left is T V, every other sweep."""
    game = sure_moves(12, 3, 0.8)
    want = solve_shapley(game, 1e-11, "value-iteration").values
    monkeypatch.setattr(shapley, "DUTY", 2.0)
    monkeypatch.setattr(shapley, "SHORTEST", 1.0)
    assert_close(solve_shapley(game, 1e-9, method).values, want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["value-iteration", "policy-iteration"])
@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0], ids=["both-signs", "gains", "losses"])
def test_the_error_is_a_bound_at_every_sweep(method: Any, shift: float) -> None:
    """Rewards of one sign take the smallest row sums to the bound as well as the largest."""
    game = random_game(30, 6, 3, 3, discount=0.97, stop=True)
    game = zero_sum(game.reward[:, 0] + shift, game.transition, 0.97)
    exact = solve_shapley(game, 1e-13)
    delta = (1 - game.stopping).amax((-3, -2, -1))
    after, last = shapley.begin(game), torch.zeros(30, 6, dtype=torch.float64)
    for sweeps in range(1, 8):
        found = solve_shapley(game, 1e-15, method, max_sweeps=sweeps)
        assert found.sweeps <= sweeps
        assert bool(((found.values - exact.values).abs().amax(-1) <= found.error + 1e-12).all())
        assert bool((found.gap >= (found.values - exact.values).abs().amax(-1) - 2 * found.error - 1e-12).all())
        if method == "value-iteration":
            after = shapley.sweep(game, after, method)
            plain = delta / (1 - delta) * (after.values - last).abs().amax(-1)
            assert bool(((after.values - exact.values).abs().amax(-1) <= plain + 1e-12).all())
            assert bool((found.error <= plain).all())
            last = after.values


def test_a_batch_of_games_is_its_games() -> None:
    together = random_game(4, 7, 3, 2, seed=3)
    found = solve_shapley(together, 1e-10, "value-iteration")
    for g in range(4):
        game = zero_sum(together.reward[g, 0], together.transition[g], 0.9)
        assert_close(found.values[g], solve_shapley(game, 1e-10).values, rtol=0, atol=2e-10)
    certify(together, solve_shapley(together, 1e-10, "policy-iteration"), 1e-9)


def test_exchanging_the_players_exchanges_the_sign() -> None:
    game = random_game(8, 3, 4, stop=True, discount=1.0)
    turned = zero_sum(-game.reward[0].mT, game.transition.transpose(-3, -2), 1.0)
    assert_close(solve_shapley(game, 1e-11).values, -solve_shapley(turned, 1e-11).values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_alone_it_is_a_decision_process(method: Any) -> None:
    """Who faces somebody with a single action maximises; games without a choice are linear systems."""
    game = random_game(9, 4, 1)
    found = solve_shapley(game, 1e-11, method)
    assert_close(found.values, game.best_responses(game.start())[1][0], rtol=0, atol=1e-10)
    given = random_game(9, 1, 1)
    values = given.state_values(given.start())[0]
    assert_close(solve_shapley(given, 1e-11, method).values, values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_play_that_ends_at_once_is_matrix_games(method: Any) -> None:
    R = random_game(9, 3, 4).reward[0]
    found = solve_shapley(zero_sum(R, torch.zeros(9, 3, 4, 9)), 1e-30, method)
    assert found.sweeps < 5
    assert_close(found.values, solve_zero_sum(R).value, rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_units_of_reward_do_not_matter(scale: float) -> None:
    game = random_game(5, 3, 3)
    scaled = zero_sum(game.reward[0] * scale, game.transition, 0.9)
    want = solve_shapley(game, 1e-11).values
    assert_close(solve_shapley(scaled, 1e-11 * scale).values / scale, want, rtol=0, atol=1e-10)


def test_what_rounding_forbids_is_not_claimed() -> None:
    found = solve_shapley(random_game(5, 3, 3), 1e-30)
    assert not bool(found.converged)
    assert found.sweeps < 50
    assert float(found.gap) < 1e-12


def test_single_precision() -> None:
    game = random_game(5, 3, 3)
    single = StochasticGame(game.reward.float(), game.transition.float(), discount=0.9)
    found = solve_shapley(single, 1e-3)
    assert found.values.dtype == found.policy[0].dtype == torch.float32
    assert_close(found.values.double(), solve_shapley(game).values, rtol=0, atol=1e-4)


REFUSED = {
    "general-sum": (StochasticGame(torch.ones(2, 1, 2, 2), torch.ones(1, 2, 2, 1), discount=0.5), {}, "zero-sum"),
    "three-players": (
        StochasticGame(torch.zeros(3, 1, 2, 2, 2), torch.ones(1, 2, 2, 2, 1), discount=0.5),
        {},
        "two players",
    ),
    "no-game": (3, {}, "TabularGame"),
    "tolerance": (random_game(2, 2, 2), {"tolerance": 0}, "tolerance"),
    "method": (random_game(2, 2, 2), {"method": "value-iteratoin"}, "value-iteration"),
    "max_sweeps": (random_game(2, 2, 2), {"max_sweeps": 0}, "max_sweeps"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str) -> None:
    game, options, words = REFUSED[case]
    with pytest.raises(InvalidInput, match=words):
        solve_shapley(game, **options)


@pytest.mark.parametrize("method", ["value-iteration", "policy-iteration"])
def test_the_solver_makes_the_same_sweeps(method: Any) -> None:
    game = random_game(6, 3, 3, seed=2)
    solver = ShapleyIteration(method)
    result = gs.solve(game, solver, iterations=60, tolerance=1e-11, seeds=2)
    assert result.status is gs.Status.CONVERGED
    found = solve_shapley(game, 1e-15, method, max_sweeps=result.iterations)
    for x, y in zip(result.policy, found.policy, strict=True):
        assert_close(x, y.expand_as(x), rtol=0, atol=0)


def test_the_solver_takes_zero_sum_games_alone() -> None:
    assert isinstance(random_game(2, 2, 2), ZeroSumTabularGame)
    general = REFUSED["general-sum"][0]
    assert not isinstance(general, ZeroSumTabularGame)
    with pytest.raises(InvalidInput, match="ZeroSumTabularGame"):
        gs.solve(general, ShapleyIteration(), iterations=1)
    with pytest.raises(InvalidInput, match="zero-sum"):
        ShapleyIteration().init(general)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(5, 5), (3, 6), (6, 3), (1, 4), (4, 1), (1, 1)], ids=str)
def test_stages_are_solved_from_any_basis(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    A = torch.from_numpy(np.concatenate([rng.standard_normal((150, *shape)), rng.integers(0, 3, (150, *shape))]))
    want = solve_zero_sum(A).value
    nonsense = torch.from_numpy(rng.random((300, sum(shape))) < 0.5)
    found = {}
    for on in (True, False):
        with fused(on):
            cold = solve_stages(A, no_basis(A))
            for basis in (no_basis(A), nonsense, cold.basis):
                stages = found[on] = solve_stages(A, basis)
                assert_close(stages.value, want, rtol=0, atol=1e-12)
                above = (A @ stages.column[..., None])[..., 0].amax(-1)
                below = (A.mT @ stages.row[..., None])[..., 0].amin(-1)
                assert float((above - below).amax()) < 1e-12
            assert torch.equal(stages.basis, cold.basis)  # nothing had to be solved anew
            near = A + 1e-6 * torch.from_numpy(rng.standard_normal(A.shape))
            assert_close(solve_stages(near, cold.basis).value, solve_zero_sum(near).value, rtol=0, atol=1e-11)
    assert_close(found[True].value, found[False].value, rtol=0, atol=1e-13)


def test_a_basis_that_is_optimal_is_kept_and_says_who_plays() -> None:
    """Rock, paper, scissors and a bad fourth action: three rows and columns, each a third."""
    A = torch.tensor([[0.0, -1, 1, 5], [1, 0, -1, 5], [-1, 1, 0, 5], [-5, -5, -5, 0]], dtype=torch.float64)
    for on in (True, False):
        with fused(on):
            stages = solve_stages(A[None], no_basis(A[None]))
        assert stages.basis[0].tolist() == [True, True, True, False] * 2
    x, y = on_basis(A[None] + 6, stages.basis)
    third = torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0]], dtype=torch.float64)
    assert_close(x, third)
    assert_close(y, third)


@pytest.mark.parametrize("on", [True, False], ids=["fused", "plain"])
def test_stages_beyond_the_range_of_numbers(on: bool) -> None:
    A = torch.tensor([[[1e308, -1e308], [-1e308, 1e308]], [[7.0, 7.0], [7.0, 7.0]]], dtype=torch.float64)
    with fused(on):
        stages = solve_stages(A, no_basis(A))
        again = solve_stages(A, stages.basis)
    for found in (stages, again):
        assert found.value.tolist() == [0, 7]
