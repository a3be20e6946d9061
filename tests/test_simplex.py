"""Maps of the simplex: properties on random inputs, and the maximisers found by an independent optimiser."""

import cvxpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from gamesim import simplex
from gamesim.simplex import (
    divergence,
    entropy,
    explore,
    explore_scores,
    mirror_step,
    proximal,
    regret,
    soft_argmax,
    soft_maximum,
    uniform_like,
)

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
NUMBER = st.floats(-50, 50, allow_nan=False)
STEP = st.floats(1e-3, 100)
TEMPERATURE = st.one_of(st.just(0.0), st.floats(1e-3, 20))


def vectors(count: int = 1) -> st.SearchStrategy[list[Tensor]]:
    """So many vectors of equal length."""
    return st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.lists(NUMBER, min_size=n, max_size=n).map(lambda x: torch.tensor(x, dtype=torch.float64)),
            min_size=count,
            max_size=count,
        )
    )


def on_simplex(p: Tensor) -> bool:
    return bool((p >= 0).all() and ((p.sum(-1) - 1).abs() < 1e-12).all())


@QUICK
@given(vectors(2), STEP, TEMPERATURE, st.floats(0, 0.999))
def test_every_motion_stays_on_the_simplex(pair: list[Tensor], eta: float, lam: float, beta: float) -> None:
    scores, values = pair
    policy = torch.softmax(scores, -1)
    moved = mirror_step(scores, values, eta, lam)
    assert bool(moved.isfinite().all())
    for p in (
        torch.softmax(moved, -1),
        proximal(policy, values, eta, lam),
        soft_argmax(values, lam),
        explore(policy, beta),
        torch.softmax(explore_scores(scores, beta), -1),
        uniform_like(values),
    ):
        assert on_simplex(p)


@QUICK
@given(vectors(2), STEP, TEMPERATURE)
def test_proximal_is_the_softmax_of_the_mirror_step(pair: list[Tensor], eta: float, lam: float) -> None:
    scores, values = pair
    direct = torch.softmax(mirror_step(scores, values, eta, lam), -1)
    torch.testing.assert_close(proximal(torch.softmax(scores, -1), values, eta, lam), direct, atol=1e-9, rtol=1e-9)


CASES = [(n, eta, lam) for n in (2, 3, 5) for eta in (0.1, 2.0) for lam in (0.0, 0.5, 3.0)]


@pytest.mark.parametrize(("n", "eta", "lam"), CASES)
def test_proximal_is_the_maximiser_that_scipy_finds(n: int, eta: float, lam: float) -> None:
    rng = np.random.default_rng([n, int(10 * eta), int(10 * lam)])
    q, p = 2 * rng.normal(size=n), rng.dirichlet(np.ones(n))

    def loss(x: np.ndarray) -> float:
        h = -(x * np.log(x)).sum()
        return float(-eta * (q @ x + lam * h) + (x * np.log(x / p)).sum())

    found = minimize(
        loss,
        np.full(n, 1 / n),
        method="SLSQP",
        bounds=[(1e-12, 1)] * n,
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    ours = proximal(torch.tensor(p), torch.tensor(q), eta, lam).numpy()
    assert loss(ours.clip(1e-300)) <= loss(found.x) + 1e-9
    np.testing.assert_allclose(ours, found.x, atol=2e-5)


@pytest.mark.parametrize(("eta", "lam"), [(0.5, 0.0), (0.5, 1.0), (4.0, 0.3)])
def test_proximal_is_the_maximiser_that_cvxpy_finds(eta: float, lam: float) -> None:
    rng = np.random.default_rng(7)
    q, p = rng.normal(size=4), rng.dirichlet(np.ones(4))
    x = cvxpy.Variable(4, nonneg=True)
    h = cvxpy.sum(cvxpy.entr(x))
    # KL(x || p) = -H(x) - <x, log p>
    objective = cvxpy.Maximize(eta * (q @ x + lam * h) + h + x @ np.log(p))
    cvxpy.Problem(objective, [cvxpy.sum(x) == 1]).solve(
        solver=cvxpy.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-12
    )
    ours = proximal(torch.tensor(p), torch.tensor(q), eta, lam).numpy()
    np.testing.assert_allclose(ours, x.value, atol=1e-5)


@QUICK
@given(vectors(2), st.floats(0.01, 20), st.floats(0.01, 20))
def test_a_ppo_step_is_a_pmd_step_with_a_smaller_step_size(pair: list[Tensor], eta_ppo: float, lam: float) -> None:
    """PMD with eta = eta' / (1 + lam eta'):  softmax((1 - lam eta) log pi + eta Q)."""
    scores, values = pair
    eta = eta_ppo / (1 + lam * eta_ppo)
    pmd = torch.softmax((1 - lam * eta) * torch.log_softmax(scores, -1) + eta * values, -1)
    torch.testing.assert_close(torch.softmax(mirror_step(scores, values, eta_ppo, lam), -1), pmd, atol=1e-10, rtol=1e-8)


@QUICK
@given(vectors(2), TEMPERATURE)
def test_regret_is_never_negative_and_is_the_difference_of_the_values(pair: list[Tensor], lam: float) -> None:
    scores, values = pair
    policy = torch.softmax(scores, -1)
    direct = soft_maximum(values, lam) - (policy * values).sum(-1) - lam * entropy(policy)
    found = regret(policy, values, lam)
    assert float(found) >= 0
    torch.testing.assert_close(found, direct, atol=1e-9, rtol=1e-9)


@QUICK
@given(vectors(1), TEMPERATURE)
def test_regret_of_the_maximiser_is_zero(one: list[Tensor], lam: float) -> None:
    (values,) = one
    assert float(regret(soft_argmax(values, lam), values, lam)) == pytest.approx(0, abs=1e-12)


def test_regret_with_zero_probabilities() -> None:
    values = torch.tensor([[1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    policy = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    assert regret(policy, values).tolist() == [1.0, 0.0]
    expected = torch.logsumexp(values, -1) - torch.tensor([0.0, 3.0])
    torch.testing.assert_close(regret(policy, values, 1.0), expected.double())


def test_regret_keeps_its_digits_near_the_optimum() -> None:
    """Values of 1e6 that differ by 1e-9: the difference of two values would return rounding errors of 1e-10."""
    values = torch.tensor([1e6, 1e6 - 2.0**-20], dtype=torch.float64)
    policy = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert float(regret(policy, values)) == 2.0**-21


@QUICK
@given(vectors(2), st.floats(0.001, 10))
def test_a_batch_of_temperatures_is_one_by_one(pair: list[Tensor], lam: float) -> None:
    scores, values = pair
    policy = torch.softmax(scores, -1)
    many = torch.tensor([lam, 2 * lam], dtype=torch.float64)[:, None]
    for i, one in enumerate((lam, 2 * lam)):
        torch.testing.assert_close(regret(policy, values, many)[i], regret(policy, values, one))
        torch.testing.assert_close(soft_maximum(values, many)[i], soft_maximum(values, one))
        torch.testing.assert_close(soft_argmax(values, many)[i], soft_argmax(values, one))
        torch.testing.assert_close(
            torch.softmax(mirror_step(scores, values, 0.5, many)[i], -1),
            torch.softmax(mirror_step(scores, values, 0.5, one), -1),
        )


@QUICK
@given(vectors(1), st.floats(0, 0.999))
def test_explore_scores_are_the_logarithms_of_explore(one: list[Tensor], beta: float) -> None:
    (scores,) = one
    policy = torch.softmax(scores, -1)
    mixed = explore(policy, beta)
    torch.testing.assert_close(torch.softmax(explore_scores(scores, beta), -1), mixed, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(mixed, (1 - beta) * policy + beta / len(scores), atol=1e-12, rtol=1e-12)
    assert float(mixed.min()) >= beta / len(scores) - 1e-12


def test_explore_scores_without_mixing_are_unchanged_and_bring_back_what_was_lost() -> None:
    scores = torch.tensor([0.0, -1e5], dtype=torch.float64)
    assert explore_scores(scores, 0.0) is scores
    assert torch.softmax(scores, -1)[1] == 0
    assert float(torch.softmax(explore_scores(scores, 0.1), -1)[1]) == pytest.approx(0.05)


@QUICK
@given(vectors(2))
def test_divergence_and_entropy(pair: list[Tensor]) -> None:
    p, q = (torch.softmax(x, -1) for x in pair)
    assert float(divergence(p, q)) >= 0
    assert float(divergence(p, p)) == 0
    assert 0 <= float(entropy(p)) <= np.log(len(p)) + 1e-12
    assert float(entropy(uniform_like(p))) == pytest.approx(np.log(len(p)))


def test_divergence_where_a_law_is_zero() -> None:
    p = torch.tensor([1.0, 0.0])
    assert float(divergence(p, torch.tensor([0.5, 0.5]))) == pytest.approx(np.log(2))
    assert float(divergence(torch.tensor([0.5, 0.5]), p)) == float("inf")


def test_ties_are_shared_at_temperature_zero() -> None:
    values = torch.tensor([2.0, 2.0, 1.0, 2.0])
    torch.testing.assert_close(soft_argmax(values, 0.0), torch.tensor([1, 1, 0, 1]) / 3)


@QUICK
@given(vectors(2), STEP)
def test_scores_of_mirror_descent_do_not_grow_for_ever(pair: list[Tensor], eta: float) -> None:
    scores, values = pair
    for _ in range(50):
        scores = mirror_step(scores, values, eta)
    assert float(scores.max()) == 0


def test_lift() -> None:
    assert simplex.lift(0.5, 3) == 0.5
    assert simplex.lift(torch.tensor([1.0, 2.0]), 2).shape == (2, 1, 1)
