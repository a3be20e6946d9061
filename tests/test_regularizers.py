"""Mirror maps: against convex optimisation, at extremes, in batches."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.parameters import convert
from gamesim.regularizers import Entropic, Regularizer, Tsallis, power_choice
from gamesim.simplex import uniform_like

ALL = ["entropic", "euclidean", "tsallis(0.5)", "tsallis(0.2)", "tsallis(0.9)", "log-barrier"]
THETA = {
    "entropic": lambda x: -cp.sum(cp.entr(x)),
    "euclidean": lambda x: cp.sum_squares(x) / 2,
    "tsallis(0.5)": lambda x: -cp.sum(cp.power(x, 0.5)) / 0.25,
    "tsallis(0.2)": lambda x: -cp.sum(cp.power(x, 0.2)) / 0.16,
    "tsallis(0.9)": lambda x: -cp.sum(cp.power(x, 0.9)) / 0.09,
    "log-barrier": lambda x: -cp.sum(cp.log(x)),
}


def named(name: str) -> Regularizer:
    found: Regularizer = convert(name, Regularizer, "regularizer")
    return found


def numbers(*shape: int, scale: float = 2.0) -> Tensor:
    return scale * torch.from_numpy(np.random.default_rng(3).normal(size=shape))


@pytest.mark.parametrize("name", ALL)
def test_the_choice_maximises_score_minus_regulariser(name: str) -> None:
    for y in numbers(3, 4):
        x = cp.Variable(4)
        objective = cp.Maximize(y.numpy() @ x - THETA[name](x))
        cp.Problem(objective, [cp.sum(x) == 1, x >= 0]).solve(solver=cp.CLARABEL)
        np.testing.assert_allclose(named(name).choose(y).numpy(), x.value, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_scores_are_the_gradient_and_lead_back(name: str) -> None:
    h, x = named(name), torch.softmax(numbers(5, 3), -1).requires_grad_()
    (gradient,) = torch.autograd.grad(h.value(x).sum(), x)
    inside = gradient - gradient.mean(-1, keepdim=True)  # constants move no policy
    scores = h.scores(x.detach())
    torch.testing.assert_close(scores - scores.mean(-1, keepdim=True), inside, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(h.choose(scores), x.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_curvature_is_the_slope_of_the_scores(name: str) -> None:
    p = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(named(name).scores(p).sum(), p)
    assert float(slope) == pytest.approx(named(name).curvature(0.3), rel=1e-12)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ALL),
    st.lists(st.floats(-1e300, 1e300, allow_nan=False), min_size=1, max_size=12),
    st.sampled_from([torch.float64, torch.float32]),
)
def test_any_finite_scores_give_a_policy(name: str, scores: list[float], dtype: torch.dtype) -> None:
    top = torch.finfo(dtype).max / 4
    y = torch.tensor(scores, dtype=torch.float64).clamp(-top, top).to(dtype)
    x = named(name).choose(y)
    assert x.dtype == dtype
    assert bool((x >= 0).all())
    assert float(x.sum()) == pytest.approx(1, abs=1e-5 if dtype == torch.float32 else 1e-12)
    order = y.argsort()
    assert bool((x[order].diff() >= -1e-6).all())  # what scores more is played more


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("actions", [1, 2, 1000])
def test_extremes(name: str, actions: int) -> None:
    choose = named(name).choose
    same = torch.full((actions,), 7.0, dtype=torch.float64)
    torch.testing.assert_close(choose(same), uniform_like(same), rtol=1e-13, atol=0)
    if actions > 1:
        one = torch.zeros(actions, dtype=torch.float64)
        one[1] = 1e12
        assert float(choose(one)[1]) == pytest.approx(1, abs=1e-3)
        near = same.clone()
        near[0] += 1e4  # far from the others, at a size where a Newton iteration on raw scores has no digits left
        assert float(choose(near + 1e4).sum()) == pytest.approx(1, abs=1e-14)
        torch.testing.assert_close(choose(near + 1e4), choose(near), rtol=1e-9, atol=1e-12)


def test_a_score_of_minus_infinity_is_not_played() -> None:
    y = torch.tensor([0.0, -math.inf, 1.0], dtype=torch.float64)
    for name in ALL:
        x = named(name).choose(y)
        assert float(x[1]) == 0.0
        assert float(x.sum()) == pytest.approx(1, abs=1e-12)


def test_scores_that_are_no_numbers_stay_visible_and_in_their_row() -> None:
    y = numbers(3, 3)
    y[1, 0] = math.nan
    for name in ALL:
        x = named(name).choose(y)
        assert bool(x[1].isnan().any())
        torch.testing.assert_close(x[[0, 2]], named(name).choose(y[[0, 2]]), rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_is_one_by_one(name: str) -> None:
    y = numbers(4, 3, 5, scale=30.0)
    alone = torch.stack([torch.stack([named(name).choose(row) for row in rows]) for rows in y])
    torch.testing.assert_close(named(name).choose(y), alone, rtol=1e-13, atol=1e-300)


def test_the_power_family_joins_its_neighbours() -> None:
    y = numbers(20, 4)
    torch.testing.assert_close(Tsallis(0.99).choose(y), Entropic().choose(y), rtol=0.1, atol=0.01)
    torch.testing.assert_close(power_choice(y, 0.01), power_choice(y, 0.0), rtol=0.02, atol=0.002)
    two = torch.tensor([0.0, -3.0], dtype=torch.float64)  # of two actions the barrier solves a quadratic equation
    lam = (-(3 - 2) + math.sqrt((3 - 2) ** 2 + 4 * 3)) / 2
    np.testing.assert_allclose(power_choice(two, 0.0).numpy(), [1 / lam, 1 / (lam + 3)], rtol=1e-14)


def test_names() -> None:
    assert [str(named(name)) for name in ALL] == ALL
    with pytest.raises(InvalidInput, match="regularizer: got 'entropy', expected one of entropic"):
        named("entropy")
    with pytest.raises(InvalidInput, match=r"regularizer.q: got 1.5"):
        named("tsallis(1.5)")
