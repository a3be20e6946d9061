"""Confidence sets of models: total variation, least squares, the simulation lemma, and the worst model of a set."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from gamesim.attention.layout import Layout
from gamesim.errors import InvalidInput
from gamesim.offline.confidence import (
    fitted_radius,
    gaussian_variation,
    total_variation,
    uniform_radius,
    worst_model,
)
from gamesim.offline.exact.counted import Crowd
from gamesim.offline.exact.linear_dynamics import Costs, fit, predicted, returns, rows
from gamesim.offline.exact.local_models import Fitted
from gamesim.offline.exact.pairs import Local, local_policies
from gamesim.offline.exact.robust import budget_bound, least_expectation, robust_values
from gamesim.offline.exact.tables import state_values, visits
from gamesim.randomness import Stream

POLICY = torch.tensor([[0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)


@pytest.mark.parametrize(("rows_", "distance"), [(1, 0.3), (3, 1.0), (8, 2.5)])
def test_total_variation_of_gaussians_agrees_with_monte_carlo(rows_: int, distance: float) -> None:
    sigma, n = 0.7, 200_000
    direction = torch.sin(1 + torch.arange(rows_ * 2.0)).double().reshape(rows_, 2)
    difference = distance * direction / direction.square().sum().sqrt()
    x = sigma * Stream(1).normal((n, rows_, 2))  # from the first law: TV = E max(0, 1 - q / p)
    log_ratio = (x.square() - (x - difference).square()).sum((-2, -1)) / (2 * sigma**2)
    found = (1 - log_ratio.exp()).clamp(min=0)
    error = float(found.std()) / math.sqrt(n)
    exact = float(total_variation(difference, Layout.repeated(rows_, 1), sigma))
    assert exact == pytest.approx(math.erf(distance / (2 * math.sqrt(2) * sigma)))
    assert abs(float(found.mean()) - exact) < 4 * error


def test_total_variation_is_of_each_set_batched_ragged_scaled_and_differentiable() -> None:
    layout = Layout.of([2, 0, 3])
    difference = Stream(2).normal((4, 5, 2))
    found = total_variation(difference, layout, 0.5)
    assert found.shape == (4, 3)
    assert bool((found[:, 1] == 0).all())
    for seed in range(4):
        for b, (i, j) in enumerate(((0, 2), (2, 2), (2, 5))):
            length = float(difference[seed, i:j].square().sum().sqrt())
            assert float(found[seed, b]) == pytest.approx(math.erf(length / (2 * math.sqrt(2) * 0.5)))
            scaled = float(total_variation(difference, layout, 0.5, scaled=True)[seed, b])
            assert scaled == pytest.approx(math.erf(length / math.sqrt(max(j - i, 1)) / (2 * math.sqrt(2) * 0.5)))
    leaf = (difference[:2] * torch.tensor([1.0, 0.0])[:, None, None]).requires_grad_()  # at 0 too
    total_variation(leaf, layout, torch.tensor([[0.5], [0.7]]).double()).sum().backward()
    assert leaf.grad is not None
    assert bool(leaf.grad.isfinite().all())
    assert torch.autograd.gradcheck(lambda x: total_variation(x, layout, 0.5), difference[0].requires_grad_())
    assert total_variation(difference.float(), layout, 0.5).dtype == torch.float32
    # an error of 0.02 in every number saturates with N, unless it is scaled
    each = [float(total_variation(torch.full((n, 4), 0.02), Layout.repeated(n, 1), 0.05)) for n in (3, 30, 300)]
    scaled_ = [float(total_variation(torch.full((n, 4), 0.02), Layout.repeated(n, 1), 0.05, True)) for n in (3, 300)]
    assert each[0] < 0.6 < 0.95 < each[1] < each[2]
    assert scaled_[0] == pytest.approx(scaled_[1], rel=1e-5)
    with pytest.raises(InvalidInput, match="sigma"):
        total_variation(difference, layout, 0.0)


def _linear(agents: int, seeds: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [d = 2, p = 5], regressors and next states of random linear dynamics."""
    weights = torch.tensor([[0.8, 0.1, 0.5, -0.2, 0.0], [-0.1, 0.6, 0.2, 0.1, 0.3]], dtype=torch.float64)
    stream = Stream(range(seeds), agents)
    s = stream.normal((seeds, n, 1, 2)) + stream.normal((seeds, n, agents, 2))
    x = rows(s, stream.normal((seeds, n, agents, 1)))
    return weights, x, predicted(weights, x) + 0.3 * stream.normal((seeds, n, agents, 2))


def test_least_squares_is_lstsq_and_its_error_is_that_of_theory_for_every_n() -> None:
    """sum over the data of |F_hat - F|_F^2 is sigma^2 chi^2 of P = 10 degrees: its mean within 4 standard errors."""
    seeds, n = 200, 40
    for agents in (2, 8, 30):
        weights, x, after = _linear(agents, seeds, n)
        found = fit(x, after)
        one = torch.linalg.lstsq(x[3].flatten(0, 1), after[3].flatten(0, 1)).solution.mT
        torch.testing.assert_close(found[3], one)
        off = (predicted(found, x) - predicted(weights, x)).square().sum((-3, -2, -1)) / 0.3**2
        assert abs(float(off.mean()) - 10) < 4 * math.sqrt(20 / seeds)  # |.|_F does not grow with N
        inside = gaussian_variation((predicted(found, x) - predicted(weights, x)).square().sum((-2, -1)).sqrt(), 0.3)
        assert float((inside.square().mean(-1) <= fitted_radius(10, n, 0.1)).double().mean()) >= 0.9
        assert uniform_radius(10, agents, n, 0.1) > fitted_radius(10, n, 0.1)
    order = torch.tensor([2, 0, 1])
    _, x, _ = _linear(3, 1, 4)
    torch.testing.assert_close(predicted(weights, x[..., order, :]), predicted(weights, x)[..., order, :])
    with pytest.raises(InvalidInput, match="regressors"):
        fit(rows(torch.ones(5, 3, 2).double(), torch.ones(5, 3, 1).double()), torch.ones(5, 3, 2).double())


def test_one_agents_error_falls_at_equal_transitions_and_is_flat_at_equal_rows() -> None:
    def errors(agents: int, n: int) -> tuple[float, float]:
        weights, x, after = _linear(agents, 100, n)
        squared = (predicted(fit(x, after), x) - predicted(weights, x)).square().sum((-2, -1)).mean()
        return math.sqrt(float(squared)), math.sqrt(float(squared) / agents)

    (whole, one), (whole_more, one_more) = errors(4, 64), errors(16, 64)
    assert whole_more == pytest.approx(whole, rel=0.15)
    assert one_more == pytest.approx(one / 2, rel=0.15)
    whole_rows, one_rows = errors(16, 16)  # as many rows: one agent as before, the whole like sqrt(N)
    assert one_rows == pytest.approx(one, rel=0.15)
    assert whole_rows == pytest.approx(2 * whole, rel=0.15)


def test_returns_of_linear_policies_are_those_of_play() -> None:
    costs, agents, plays = Costs(discount=0.7), 5, 20_000
    weights = torch.tensor([[0.7, 0.1, 0.4, -0.2, 0.0], [-0.1, 0.6, 0.2, 0.1, -0.1]], dtype=torch.float64)
    policy = torch.tensor([[-0.5, 0.1, -0.2, 0.3]], dtype=torch.float64)
    begun = torch.sin(torch.arange(10.0)).double().reshape(agents, 2)
    mean = begun.mean(0)
    around = begun - mean
    exact = float(returns(weights, policy, mean, around.mT @ around / agents, agents, costs))
    s, paid, stream = begun.expand(plays, agents, 2), torch.zeros(plays).double(), Stream(0)
    for k in range(30):
        whole = s.mean(-2, keepdim=True).expand_as(s)
        a = torch.cat([s, whole], -1) @ policy.mT
        cost = s.square().sum(-1).mean(-1) + costs.effort * a.square().sum(-1).mean(-1)
        paid -= costs.discount**k * (cost + costs.together * whole[:, 0].square().sum(-1))
        s = predicted(weights, rows(s, a)) + costs.sigma * stream.normal((plays, agents, 2))
    error = float(paid.std()) / math.sqrt(plays)
    assert abs(float(paid.mean()) - exact) < 4 * error + 0.7**30 * 5

    unit, single = torch.eye(2).double(), torch.ones(1, 1).double()
    one = returns(torch.tensor([[0.7, 0.4, 0.1]]).double(), torch.tensor([[-0.5, 0.2]]).double(), single[0], single, 5,
                  costs)  # fmt: skip
    both = torch.cat([0.7 * unit, 0.4 * unit, 0.1 * unit], -1)
    twice = returns(both, torch.cat([-0.5 * unit, 0.2 * unit], -1), torch.ones(2).double(), unit, 5, costs)
    assert float(twice) == pytest.approx(2 * float(one))
    unstable = torch.tensor([[1.5, 0.4, 0.1]]).double()
    assert float(returns(unstable, 0 * single.expand(1, 2), single[0], single, 5, costs)) == -math.inf


def _models(seed: int, how_far: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A random reward in [-1, 1], policy, law and another law near it, of 5 states and 3 actions."""
    stream = Stream(seed)
    reward = 2 * stream.uniform((5, 3)) - 1
    policy, law, other = (torch.softmax(3 * stream.normal(shape), -1) for shape in ((5, 3), (5, 3, 5), (5, 3, 5)))
    return reward, policy, law, (1 - how_far) * law + how_far * other


@pytest.mark.parametrize("seed", range(5))
def test_the_simulation_lemma_holds_and_its_half_for_rewards_from_0_to_1(seed: int) -> None:
    discount, initial = 0.9, torch.full((5,), 0.2).double()
    for how_far in (0.01, 0.3, 1.0):
        reward, policy, law, other = _models(seed, how_far)
        d = (1 - discount) * visits(policy, initial, law, discount)
        variation = float((d * (law - other).abs().sum(-1) / 2).sum())
        for paid, factor in ((reward, 2.0), ((reward + 1) / 2, 1.0)):
            v, w = (float((initial * state_values(policy, paid, p, discount)).sum()) for p in (law, other))
            most = 1 / (1 - discount)
            assert abs(v - w) <= factor * discount * most / (1 - discount) * variation + 1e-12


def test_the_least_expectation_in_total_variation_is_a_linear_program() -> None:
    from scipy.optimize import linprog

    stream = Stream(4)
    for k in range(12):
        law, values = torch.softmax(2 * stream.normal((5,)), -1), stream.normal((5,)).round(decimals=1)
        tau = (0.0, 0.05, 0.3, 0.9, 1.0, 1.5)[k % 6]
        value, worst = least_expectation(law, values, tau)
        assert float(worst.sum()) == pytest.approx(1)
        assert float((worst - law).abs().sum()) / 2 <= tau + 1e-12
        assert float((worst * values).sum()) == pytest.approx(float(value))
        cost = [*values.tolist(), *[0.0] * 5]  # p, and u >= |p - law|
        upper = [[float(sign * (i == j)) for j in range(5)] + [-float(i == j) for j in range(5)]
                 for sign in (1, -1) for i in range(5)]  # fmt: skip
        bounds = [*(sign * x for sign in (1, -1) for x in law.tolist())]
        program = linprog(
            cost, [*upper, [0.0] * 5 + [1.0] * 5], [*bounds, 2 * tau], [[1.0] * 5 + [0.0] * 5], [1.0], method="highs"
        )
        assert float(value) == pytest.approx(program.fun, abs=1e-9)
    many, _ = least_expectation(torch.softmax(stream.normal((4, 3, 5)), -1), stream.normal((5,)), torch.rand(4, 3))
    assert many.shape == (4, 3)


def test_robust_values_are_below_every_law_in_the_rows_and_reached() -> None:
    reward, policy, law, _ = _models(1, 0.5)
    tau = 0.2 * Stream(3).uniform((5, 3))
    values, worst = robust_values(policy, reward, law, 0.9, tau)
    assert bool(((worst - law).abs().sum(-1) / 2 <= tau + 1e-12).all())
    torch.testing.assert_close(state_values(policy, reward, worst, 0.9), values)
    backed = (policy * (reward + 0.9 * least_expectation(law, values[None, None], tau)[0])).sum(-1)
    torch.testing.assert_close(backed, values)  # the fixed point of the robust equation
    for k in range(50):
        other = torch.softmax(3 * Stream(k, 9).normal((5, 3, 5)), -1)
        share = (tau / ((other - law).abs().sum(-1) / 2)).clamp(max=1)[..., None]
        inside = law + share * (other - law)
        assert bool((state_values(policy, reward, inside, 0.9) >= values - 1e-12).all())


def test_the_bound_of_a_budget_is_below_its_models() -> None:
    reward, policy, law, _ = _models(2, 0.5)
    initial, share = torch.full((5,), 0.2).double(), torch.full((5, 3), 1 / 15).double()
    for zeta in (1e-4, 1e-2):
        bound = float(budget_bound(policy, reward, law, 0.9, initial, share, zeta, 20.0))
        for k in range(50):
            other = torch.softmax(3 * Stream(k, 9).normal((5, 3, 5)), -1)
            squared = float((share * ((other - law).abs().sum(-1) / 2).square()).sum())
            inside = law + min(1.0, math.sqrt(zeta / squared)) * (other - law)
            assert float((initial * state_values(policy, reward, inside, 0.9)).sum()) >= bound
    assert float(budget_bound(policy, reward, law, 0.9, initial, 0 * share, 1e-4, 20.0)) == -math.inf


def test_variation_of_shared_luck_is_that_of_the_joint_law() -> None:
    """By occupied pairs, against the law of who goes where of three agents written out, and above that of counts."""
    agents, problem = 3, Local.drawn((2,), 2, 2, "shared", 0.8, Stream(range(2)))
    data = problem.sampled((2,), 60, agents, "spread", Stream(range(2), 1))
    fitted = Fitted.of(data)
    q = fitted.kernel
    found = fitted.distance(problem.kernel, fitted.outcomes(q))
    crowd = Crowd(agents, 2, 2)
    laws = [crowd.law(k[:, None], "shared") for k in (problem.kernel, q)]
    for b in range(2):
        squares, counted = [], []
        for m in data.pairs[b].long():
            who = [x for x in range(4) for _ in range(int(m[x]))]
            chances = []
            for kernel in (problem.kernel[b], q[b]):
                each = {}
                for t in product(range(2), repeat=agents):
                    drawn = dict(zip(who, t, strict=True))
                    together = all(drawn[x] == z for x, z in zip(who, t, strict=True))
                    each[t] = math.prod(float(kernel[x, z]) for x, z in drawn.items()) if together else 0.0
                chances.append(each)
            squares.append((sum(abs(chances[0][t] - chances[1][t]) for t in chances[0]) / 2) ** 2)
            s, a = crowd.number(m)
            counted.append(float((laws[0][b, s, a] - laws[1][b, s, a]).abs().sum() / 2) ** 2)
        assert float(found[b]) == pytest.approx(sum(squares) / 60, abs=1e-12)
        assert sum(counted) / 60 <= float(found[b]) + 1e-12
    total = data.draws.sum((-2, -1))
    assert total.tolist() == (data.pairs > 0).sum((-2, -1)).tolist()


def test_the_worst_model_of_an_ellipsoid_is_the_closed_form() -> None:
    """V linear, distance quadratic: min = V(c) - sqrt(zeta) |g|_metric^-1."""
    metric = torch.tensor([[2.0, 0.3], [0.3, 1.0]]).double()
    centre, slope = torch.tensor([[0.5, -1.0], [2.0, 0.0]]).double(), torch.tensor([1.0, -2.0]).double()

    def distance(w: Tensor) -> Tensor:
        return ((w - centre) @ metric * (w - centre)).sum(-1)

    found = worst_model(lambda w: (w * slope).sum(-1), distance, centre, metric, 0.09)
    exact = centre @ slope - 0.3 * torch.sqrt(slope @ torch.linalg.solve(metric, slope))
    torch.testing.assert_close(found.value, exact, rtol=0, atol=1e-4)
    assert bool((distance(found.model) <= 0.09).all())
    assert bool((found.value >= exact - 1e-12).all())
    flat = worst_model(lambda w: 0 * w.sum(-1), distance, centre, metric, 0.09)
    assert bool((flat.value == 0).all())


def test_the_worst_model_of_shared_luck_is_found_in_the_set_and_not_above_a_search() -> None:
    agents, samples, seeds = 8, 100, 4
    drawn = Local.drawn((seeds,), 2, 2, "shared", 0.8, Stream(range(seeds)))
    problem = replace(drawn, kernel=drawn.kernel[:, None], own=drawn.own[:, None], company=drawn.company[:, None])
    data = problem.sampled((seeds, 1), samples, agents, "groups", Stream(range(seeds), 1))
    fitted, start, policies = Fitted.of(data), torch.tensor([0.5, 0.5]).double(), local_policies(2, 2, 3)
    zeta = 0.03
    found = fitted.worst(problem, policies, start, agents, zeta)
    known = fitted.outcomes(fitted.kernel)

    def whole(w: Tensor) -> Tensor:
        return torch.stack([w, 1 - w], -1)

    assert bool((fitted.distance(whole(found.model), known) <= zeta + 1e-12).all())
    value = replace(problem, kernel=whole(found.model)).returns(policies, start, agents)
    torch.testing.assert_close(value, found.value)
    least, stream = torch.full_like(found.value, torch.inf), Stream(0)
    for _ in range(100):
        w = (fitted.kernel[..., 0] + 0.4 * stream.normal((seeds, len(policies), 4))).clamp(0, 1)
        centre = fitted.kernel[..., 0]
        for part in (0.25, 0.5, 1.0):
            here = centre + part * (w - centre)
            inside = fitted.distance(whole(here), known) <= zeta
            tried = replace(problem, kernel=whole(here)).returns(policies, start, agents)
            least = torch.minimum(least, torch.where(inside, tried, torch.inf))
    assert float((found.value - least).max()) < 0.02  # a search of a set that is not convex
    assert float((found.value - least).mean()) < 0
