"""Statistics of chains, held to autoregressions, linear operators and expansions whose answers are known."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.stats import binom

from gamesim.algorithms.extragradient import Extragradient
from gamesim.algorithms.gradient_descent_ascent import GradientDescentAscent
from gamesim.envs.variational.bilinear import Bilinear
from gamesim.envs.variational.quadratic import Quadratic
from gamesim.envs.variational.softplus import Softplus
from gamesim.ergodic import (
    average,
    bias_ladder,
    leading_bias,
    limit_covariance,
    long_run_variance,
    richardson_romberg,
    richardson_weights,
    run_chains,
    split_r_hat,
)
from gamesim.ergodic.chains import adjusted
from gamesim.errors import InvalidInput
from gamesim.feedback import Exact, Noisy, Realised
from gamesim.games.domains import Ball, Simplex
from gamesim.games.matrix import MatrixGame
from gamesim.games.variational import VariationalProblem
from gamesim.loop import solve
from gamesim.randomness import Stream

METHODS = ["batch-means", "overlapping", "lugsail"]
NOISE = Noisy(1.0)
GDA, EG = GradientDescentAscent(0.1, feedback=NOISE), Extragradient(0.1, feedback=NOISE)


def autoregression(rho, seeds, T):
    """x' = rho x + e, stationary: long-run variance 1 / (1 - rho)^2, correlation time (1 + rho) / (1 - rho)."""
    e = Stream(0).normal((seeds, T))
    x = [e[:, 0] / math.sqrt(1 - rho**2)]
    for t in range(1, T):
        x.append(rho * x[-1] + e[:, t])
    return torch.stack(x, -1)


AR = autoregression(0.6, 600, 1500)


def test_richardson_weights():
    assert richardson_weights([1, 2]) == [2, -1]
    assert richardson_weights([1, 2, 4]) == pytest.approx([8 / 3, -2, 1 / 3], rel=1e-15)
    assert richardson_weights([0.3]) == [1]
    steps = [0.1, 0.05, 0.3, 0.7, 0.02]
    for j in range(5):
        total = sum(Fraction(c) * Fraction(g) ** j for c, g in zip(richardson_weights(steps), steps, strict=True))
        assert float(total) == pytest.approx(float(j == 0), abs=1e-13)


def test_extrapolation_is_exact_for_polynomials():
    steps = [0.1, 0.2, 0.4]
    g = torch.tensor(steps).double()[:, None]
    truth = torch.tensor([1.0, -2.0]).double()
    values = truth + g * torch.tensor([3.0, 4.0]) + g**2 * torch.tensor([-5.0, 6.0])
    batch = torch.stack([values, values + 1])
    assert torch.allclose(richardson_romberg(batch, steps), torch.stack([truth, truth + 1]), atol=1e-12)


def test_variances_are_their_definitions():
    x, b, T = AR[:3, :103], 7, 103
    means = x[:, : 14 * 7].reshape(3, 14, 7).mean(-1)
    assert torch.allclose(long_run_variance(x, "batch-means", b), b * means.var(-1))

    def overlapping(b):
        windows = torch.stack([x[:, j : j + b].mean(-1) for j in range(T - b + 1)], -1)
        return T * b * (windows - x.mean(-1, keepdim=True)).square().sum(-1) / ((T - b) * (T - b + 1))

    plain, short = overlapping(7), overlapping(2)
    assert torch.allclose(long_run_variance(x, "overlapping", b), plain)
    assert torch.allclose(long_run_variance(x, "lugsail", b), torch.maximum(plain, 2 * plain - short))


@pytest.mark.parametrize("method", METHODS)
def test_variances_of_white_noise_are_unbiased_and_of_an_autoregression_nearly(method):
    white = Stream(5).normal((2000, 200))
    found = long_run_variance(white, method, 10)
    slack = 0.1 if method == "lugsail" else 0  # it takes a maximum
    assert abs(float(found.mean()) - 1 - slack / 2) < slack / 2 + 4 * float(found.std()) / 2000**0.5
    ratio = long_run_variance(AR, method, 60).mean() * (1 - 0.6) ** 2
    assert 0.9 < float(ratio) < 1.12


@pytest.mark.parametrize("method", METHODS)
def test_intervals_cover_as_they_say(method):
    for series, level in ((AR, 0.95), (AR, 0.8), (Stream(6).normal((600, 64)), 0.95)):
        found = average(series, level, method, batch=None if series is not AR else 75)
        hits = int(((found.low <= 0) & (found.high >= 0)).sum())
        low, high = binom.ppf([0.0005, 0.9995], 600, [level - 0.015, level + 0.02])
        assert low <= hits <= high, (method, level, hits)


def test_effective_size():
    found = average(AR, batch=75, method="overlapping")
    assert float(found.effective_size.median()) == pytest.approx(1500 * (1 - 0.6) / (1 + 0.6), rel=0.1)
    constant = average(torch.ones(2, 16).double())
    assert constant.low.tolist() == constant.high.tolist() == [1, 1]
    assert constant.effective_size.tolist() == [16, 16]


def test_split_r_hat():
    halves = torch.cat([AR[:8, :750], AR[:8, 750:]]).numpy()
    within, between = halves.var(1, ddof=1).mean(), 750 * halves.mean(1).var(ddof=1)
    assert float(split_r_hat(AR[:8])) == pytest.approx(np.sqrt((749 / 750 * within + between / 750) / within))
    assert float(split_r_hat(AR)) < 1.01
    drifting = AR + torch.linspace(0, 3, 1500)
    apart = AR + torch.linspace(0, 3, 600)[:, None]
    assert min(float(split_r_hat(drifting)), float(split_r_hat(apart))) > 1.1
    assert split_r_hat(AR[:, None].expand(-1, 3, -1)).shape == (3,)


@pytest.mark.parametrize(
    "solver", [GDA, EG, Extragradient(0.1, "past", feedback=NOISE)], ids=["gda", "extragradient", "past"]
)
def test_chains_are_those_of_solve_and_share_their_numbers(solver):
    problem = Quadratic()
    together = run_chains(problem, solver, step_sizes=[0.05, 0.1], seeds=3, seed=5, iterations=43, burn_in=10, cells=4)
    assert (together.width, together.burn_in) == (8, 11)
    alone = run_chains(problem, solver, seeds=3, seed=5, iterations=43, burn_in=10, cells=4)
    assert torch.allclose(together.cells[:, 1], alone.cells, atol=1e-13)
    with pytest.warns(UserWarning, match="does not fall"):
        solved = solve(problem, solver, seeds=3, seed=5, iterations=43)
    for a, b in zip(alone.state.policy, solved.policy, strict=True):
        assert torch.allclose(a, b, atol=1e-13)

    state, stream, points, noise = solver.init(problem), Stream(7), [], []
    for t in range(43):
        draws = [stream.at(t).normal((2,))]
        state = solver.step(t, problem, state, stream.at(t))
        points.append(torch.cat(state.policy))
        noise.append(draws[0])
    cells = torch.stack(points)[11:].reshape(4, 8, 4).mean(1).mT
    assert torch.allclose(alone.cells[2], cells, atol=1e-13)
    assert torch.allclose(alone.noise[2, :2], torch.stack(noise)[11:].mean(0), atol=1e-13)


def test_adjusted_averages_keep_their_mean_and_lose_their_noise():
    noise = Stream(1).normal((400, 2))
    values = 3 + noise @ torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -4.0]]).double() + 0.01 * Stream(2).normal((400, 3))
    found = adjusted(values[:, None], noise)
    assert found.shape == (400, 1, 3)
    assert torch.allclose(found.mean(0), torch.tensor(3.0).double(), atol=0.003)
    assert float(found.std(0).max()) < 0.011
    plain, better = (run_chains(Softplus(), GDA, seeds=64, iterations=600), None)
    better = plain.adjusted
    assert float((plain.averages.std(0) / better.std(0)).min()) > 3


@pytest.mark.parametrize("solver", [GDA, EG, Extragradient(feedback=NOISE, variant="optimistic")], ids=["a", "b", "c"])
def test_a_linear_operator_has_no_bias_and_its_average_the_known_variance(solver):
    problem = Quadratic(condition=2.0, seed=1)
    chains = run_chains(problem, solver, step_sizes=[0.05, 0.15], seeds=400, iterations=1600, burn_in=100)
    centre = torch.cat(problem.solution())
    for averages in (chains.averages, chains.adjusted):
        z = (averages.mean(0) - centre) / averages.std(0) * 20
        assert float(z.abs().max()) < 3.8
    assert float((chains.adjusted.mean(0) - centre).abs().max()) < 1e-3
    found = 1500 * chains.averages.var(0)
    for k, g in enumerate((0.05, 0.15)):
        M, one = problem.matrix, torch.eye(4).double()
        wanted = limit_covariance(problem)
        if solver is EG:  # its drift is (M - g M^2) x, its noise U' - g M U
            inverse = torch.linalg.inv(M - g * M @ M)
            wanted = inverse @ (one + g**2 * M @ M.mT) @ inverse.mT
        # an average of T terms has all but a share 1 / (step mu T) of the limit
        assert float((found[k] / wanted.diagonal() - 1).abs().max()) < 3.5 * (2 / 399) ** 0.5 + 1 / (g * 1500)


def test_an_active_projection_brings_a_bias():
    held = bias_ladder(Quadratic(domain=Ball(0.55)), GDA, [0.05, 0.1], seeds=64, iterations=500)
    assert float((held.bias / held.error).abs().max()) > 10


def test_the_leading_bias_of_one_dimension_is_closed_form():
    """F = 2 x + 0.3 x^2, noise of variance c: Delta = -F'' / (2 F') * c / (2 F')."""
    zero = (torch.zeros(1).double(),)
    problem = VariationalProblem.of(lambda p: (2 * p[0] + 0.3 * p[0] ** 2,), zero, solves=zero)
    found = leading_bias(problem, 0.5 * torch.eye(1).double())
    assert float(found) == pytest.approx(-0.6 / 4 * 0.5 / 4, rel=1e-12)
    assert float(limit_covariance(problem)) == pytest.approx(0.25)


def test_the_leading_bias_is_that_of_chains_and_extrapolation_removes_it():
    problem, steps = Softplus(), (0.05, 0.1, 0.2)
    theory = leading_bias(problem)
    saddle = VariationalProblem.min_max(
        lambda x, y: (x**2 / 4 + (1 + (2 * x).exp()).log() + x * y - y**2 / 4 - (1 + (2 * y).exp()).log()).sum(-1),
        problem.start(),
        solves=problem.solution(),
    )
    assert torch.allclose(leading_bias(saddle), theory, atol=1e-9)
    ladder = bias_ladder(problem, GDA, steps, seeds=256, iterations=2500)
    found, error = ladder.coefficient()
    assert float(((found - theory) / error).abs().max()) < 4
    assert float((ladder.bias[0] / 0.05 - theory).norm() / theory.norm()) < 0.25
    slope, (low, high) = ladder.slope
    assert 1 < low < slope < high < 1.2
    ratio, (low, high) = ladder.ratio((0.1, 0.2))
    assert low < ratio < high < 1 / 3
    one, two = ladder.only(0.1).averages, ladder.only(0.2).averages
    assert torch.allclose(ladder.extrapolated(0.1, 0.2).averages, 2 * one - two)
    assert float(ladder.extrapolated().norm) < float(ladder.norm[0]) / 3


def test_a_problem_without_a_known_solution_is_measured_from_its_extrapolation():
    problem = Bilinear(dimension=3, domain=Simplex())
    ladder = bias_ladder(problem, EG, [0.05, 0.1], seeds=32, iterations=200)
    assert torch.allclose(ladder.extrapolated().bias, torch.zeros(1, 6).double(), atol=1e-12)


def test_chains_of_a_game_with_realised_and_exact_feedback():
    game = MatrixGame.zero_sum([[3.0, -1.0], [-1.0, 1.0]])
    chains = run_chains(game, Extragradient(feedback=Realised()), step_sizes=[0.02, 0.04], seeds=20, iterations=2000)
    assert chains.noise.shape == (20, 0)
    assert torch.allclose(chains.adjusted.mean((0, 1)), torch.tensor([1, 2, 1, 2]).double() / 3, atol=0.05)
    exact = run_chains(game, Extragradient(0.1, feedback=Exact()), seeds=2, iterations=50, cells=10)
    assert torch.equal(exact.cells[0], exact.cells[1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: richardson_weights([]), "step_sizes: got"),
        (lambda: richardson_weights([0.1, 0.1]), r"step_sizes\[1\]"),
        (lambda: richardson_weights([0.1, -0.1]), r"step_sizes\[1\]"),
        (lambda: richardson_romberg(torch.ones(3, 2), [0.1, 0.2]), "averages"),
        (lambda: average(torch.ones(3)), "series"),
        (lambda: average(torch.tensor([1.0, float("nan"), 1.0, 1.0])), r"series\[1\]"),
        (lambda: average(torch.ones(9, dtype=torch.long)), "series"),
        (lambda: average(torch.ones(9), level=1.0), "level"),
        (lambda: average(torch.ones(9), batch=5), "batch"),
        (lambda: average(torch.ones(9), method="bartlett"), "method"),
        (lambda: split_r_hat(torch.ones(9)), "series"),
        (lambda: run_chains(Softplus(), GDA, iterations=10, cells=20), "iterations"),
        (lambda: run_chains(Softplus(), GDA, seeds=0), "seeds"),
        (lambda: run_chains(Softplus(), GDA, step_sizes=[0.1, 0.0]), r"step_sizes\[1\]"),
        (lambda: run_chains(Softplus(), GDA, step_sizes=[]), "step_sizes"),
        (lambda: bias_ladder(Softplus(), GDA, [0.1, 9.0], seeds=8, iterations=2000), r"step_sizes\[1\]: got 9.0"),
        (lambda: run_chains(Bilinear(), GDA, step_sizes=[9.0], seeds=2, iterations=5000, cells=2), "step_sizes"),
        (lambda: adjusted(torch.ones(3, 1), torch.ones(3, 2)), "seeds"),
        (lambda: leading_bias(Bilinear(domain=Simplex())), "problem"),
    ],
    ids=range(19),
)
def test_bad_input(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
